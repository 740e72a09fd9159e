"""What must hold of a trace: it does the same in training, and computes its layer's numbers."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convmill.plan.added import Term
from convmill.plan.drawn import Record, drawing
from convmill.plan.functional import nodes
from convmill.plan.stand_in import inside_a_call
from convmill.plan.traced import Given, Trace, Untraceable
from convmill.reasons import keras_reason

_IMAGES = 2  # that a trace and its layer are compared on
# The signature of the trace that a layer's numbers, or those of its activation, agreed with.
_compared: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def check_training(found: Trace, training: bool | None) -> None:
    """No layer is told another ``training`` than the call: the graph says none."""
    for node in nodes(found):
        told = node.arguments.kwargs.get("training")
        if told is not None and bool(told) != bool(training):
            raise Untraceable(f"calls {node.operation.name!r} with training={told}")


def signature(found: Trace) -> tuple[Any, ...]:
    """What a trace computes, so that equal ones can be told: its calls in order, with what they
    read by number."""
    numbers: dict[int, Any] = {id(symbol): number for number, symbol in enumerate(found.inputs)}
    numbers.update((symbol, ("weight", id(held))) for symbol, held in found.weights.items())
    for symbol, one in found.draws:
        numbers[id(symbol)] = one.kind, one.first, one.second, id(one.generator), one.number
    calls = []
    for place, node in enumerate(nodes(found)):
        given = keras.tree.flatten((node.arguments.args, _named(node)))
        calls.append((_kind(node.operation), tuple(_of_argument(one, numbers) for one in given)))
        for part, tensor in enumerate(node.output_tensors):
            numbers[id(tensor)] = (place, part, tuple(tensor.shape))
    added = tuple((numbers[id(one.symbol)], one.factor, one.over) for one in found.losses)
    return (*calls, tuple(numbers[id(tensor)] for tensor in found.outputs), added)


def _named(node: Any) -> dict[str, Any]:
    return {name: value for name, value in node.arguments.kwargs.items() if name != "training"}


def _kind(operation: Any) -> Any:
    if isinstance(operation, keras.layers.Identity):  # may be made here
        return "identity"
    if isinstance(operation, keras.Layer):
        return id(operation)
    arguments = {name: value for name, value in vars(operation).items() if name[0] != "_"}
    arguments.pop("name", None)
    return type(operation).__name__, repr(sorted(arguments.items()))


def _of_argument(value: Any, numbers: Mapping[int, Any]) -> Any:
    if id(value) in numbers:
        return numbers[id(value)]
    if isinstance(value, keras.Variable):
        return "variable", id(value)
    if hasattr(value, "shape"):
        array = np.asarray(value)
        return "array", array.shape, array.tobytes()
    return type(value).__name__, repr(value)


def compare(layer: Any, given: Given, found: Trace, training: bool | None, owner: Any) -> None:
    """Numbers of the trace and of the layer itself, for random weights and images."""
    present = signature(found)
    if _compared.get(owner) == present:
        return
    rng = np.random.default_rng(0)
    images = [_random(rng, (_IMAGES, *symbol.shape[1:])) for symbol in given.symbols]
    values = [
        (weight, _random(rng, weight.shape))
        for weight in layer.weights
        if weight.dtype == "float32"
    ]
    positional, named = given.filled(images)
    try:
        with keras.StatelessScope(state_mapping=values, collect_losses=True):
            weights = [keras.ops.convert_to_tensor(each) for each in found.weights.values()]
            record = Record()
            with drawing(record):
                theirs = inside_a_call(training, lambda: layer(*positional, **named))
            drawn = [record.values[one.number] for _, one in found.draws]
            added = layer._get_own_losses()  # that of its activity_regularizer is the last one
            by_symbol = dict(zip(map(id, given.symbols), images, strict=True))
            read = [by_symbol[id(symbol)] for symbol in found.inputs]
            ours = inside_a_call(training, lambda: found.function([*read, *weights, *drawn]))
    except Exception as error:  # whatever the user's code raises
        raise Untraceable(f"ends in {type(error).__name__}: {keras_reason(error)}") from error
    ours = keras.tree.flatten(ours)
    given_out, terms = ours[: len(found.outputs)], ours[len(found.outputs) :]
    pairs = list(zip(keras.tree.flatten(theirs), given_out, strict=True))
    pairs.append((_total(added, layer), _of_terms(found.losses, terms)))
    arrays = [tuple(map(keras.ops.convert_to_numpy, pair)) for pair in pairs]
    near = 1e-3 if layer.compute_dtype == "float32" else 0.1  # halves have few digits
    if not all(np.allclose(a, b, rtol=near, atol=0.1 * near, equal_nan=True) for a, b in arrays):
        raise Untraceable("computes other numbers than the graph that it makes")
    _compared[owner] = present


def _total(losses: Sequence[Any], layer: Any) -> Any:
    """The sum of what a layer has added to the loss in its call."""
    own = losses if layer.activity_regularizer is None else losses[:-1]
    return sum((keras.ops.sum(one) for one in own), keras.ops.zeros(()))


def _of_terms(losses: Sequence[Term], values: Sequence[Any]) -> Any:
    """The same by the terms, from their ``values``."""
    images = {"mean": _IMAGES, "sum": 1}
    pairs = zip(losses, values, strict=True)
    parts = (keras.ops.sum(value) * (one.factor / images[one.over]) for one, value in pairs)
    return sum(parts, keras.ops.zeros(()))


def _random(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    """Positive, since weights may be variances."""
    return keras.ops.convert_to_tensor(rng.uniform(0.1, 1.0, tuple(shape)).astype("float32"))
