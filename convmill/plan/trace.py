"""What a ``call`` written in Python computes, as a graph: called once with symbols for tensors.

The layer's own code runs on a stand-in: an object of the same class with the same attributes, where
a symbol stands for each weight. So the graph tells what the call computes from its weights, nothing
the user holds is written to, and a call that looks at numbers fails here instead of keeping them.
What comes out is compared with the layer by numbers.
"""

from __future__ import annotations

import copy
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from convmill.plan.added import Term, Unadded, terms_of
from convmill.plan.drawn import Drawn, Record, Tape, drawing
from convmill.plan.graph.shapes import Sizes
from convmill.plan.rebuild import reason_of
from convmill.plan.written import own_call

_IMAGES = 2  # that a trace and its layer are compared on
# The signature of the trace that a layer's numbers, or those of its activation, agreed with.
_compared: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class Untraceable(Exception):
    """A call that cannot be followed, and why."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The graph of a call, with the ends that a model has. ``weights`` has the Keras variable that
    each of the other inputs of ``function`` stands for, by the symbol's id; ``losses`` are what the
    call adds to the loss, outputs of ``function`` behind the others; ``draws`` are its random
    numbers, inputs behind the weights."""

    layer: Any
    inputs: list[Any]
    outputs: list[Any]
    function: Any
    weights: dict[int, Any]
    input: Any  # in lists and dicts, as the call has them
    output: Any
    losses: list[Term]
    draws: list[tuple[Any, Drawn]]


def is_followed(layer: Any) -> bool:
    """Whether what a layer computes is told by Python code of the user's, in its ``call``."""
    if not isinstance(layer, keras.Layer) or "call" in vars(layer):
        return False
    return isinstance(layer, keras.layers.Lambda) or own_call(layer) == "call"


def trace(layer: Any, *positional: Any, **named: Any) -> Trace:
    """Follows the call of a layer, or a model, that is built, with symbols (KerasTensors) in the
    place of tensors.

    Raises:
        Untraceable: it cannot be followed, does something else in training, or its numbers differ.
    """
    given = _Given(positional, {name: one for name, one in named.items() if name != "training"})
    return _traced(layer, given, training=False)


def trace_activation(layer: Any, tensor: Any) -> Trace:
    """Follows what a layer is given as its activation, for a symbol. Raises Untraceable."""
    called = keras.layers.Lambda(layer.activation, dtype=layer.dtype_policy, name="activation")
    return _traced(called, _Given((tensor,), {}), training=False, owner=layer)


def _traced(layer: Any, given: _Given, training: bool | None, owner: Any = None) -> Trace:
    """``training`` is None where nobody tells the layers that it calls. That its numbers agreed is
    kept by its ``owner``, itself or what it was made for."""
    with _undisturbed(layer):
        found = _followed(layer, given, training)
        if _takes_training(layer):
            trained = _followed(layer, given, training=True)
            if _signature(found) != _signature(trained):
                raise Untraceable("does something else in training")
        _compare(layer, given, found, training, layer if owner is None else owner)
    return found


def _takes_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def trace_model(model: Any, sizes: Sizes | None = None) -> Trace | None:
    """Follows the call of a model of the user's own class, for images of ``sizes``, or of those for
    which it was built; None where it is not built. Raises Untraceable."""
    given = built_for(model, sizes)
    if given is None:
        return None
    return _traced(model, _Given((given,), {}), training=False if _takes_training(model) else None)


def built_shape(model: Any) -> Any:
    """The shapes, with a batch, in lists and dicts, for which a model of the user's own class was
    built; None where it is not."""
    config = model.get_build_config() if model.built else None
    return config.get("input_shape") if config else None


def built_for(model: Any, sizes: Sizes | None = None) -> Any:
    """Inputs, in lists and dicts, like those for which a model of the user's own class was built,
    or of ``sizes``; None where it is not built."""
    shape = built_shape(model)
    if shape is None:
        return None
    inputs = _inputs_of(shape, "input")
    if sizes is None:
        return inputs
    flat = zip(keras.tree.flatten(inputs), sizes, strict=True)
    return keras.tree.pack_sequence_as(
        inputs, [keras.Input(shape, name=one.name) for one, shape in flat]
    )


def _inputs_of(shape: Any, name: str) -> Any:
    """Inputs for shapes with a batch, in lists and dicts."""
    if isinstance(shape, dict):
        return {key: _inputs_of(each, f"{name}_{key}") for key, each in shape.items()}
    if any(isinstance(each, list | tuple | dict) for each in shape):
        return [_inputs_of(each, f"{name}_{number}") for number, each in enumerate(shape)]
    return keras.Input(tuple(shape[1:]), name=name)


@dataclass(frozen=True, eq=False)
class _Given:
    """What a layer is called with."""

    positional: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def symbols(self) -> list[Any]:
        """Those in the place of tensors, each once."""
        flat = keras.tree.flatten((self.positional, self.named))
        found = [each for each in flat if isinstance(each, keras.KerasTensor)]
        return list({id(each): each for each in found}.values())

    def filled(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """The same with ``values`` in the place of the symbols."""
        by_id = dict(zip(map(id, self.symbols), values, strict=True))
        filled: tuple[Any, Any] = keras.tree.map_structure(
            lambda each: by_id.get(id(each), each), (self.positional, self.named)
        )
        return filled


def _followed(layer: Any, given: _Given, training: bool | None) -> Trace:
    inputs, named = given.symbols, dict(given.named)
    if _takes_training(layer):
        named["training"] = training
    symbols: dict[int, tuple[Any, Any]] = {}  # by a variable's id: it, and its symbol
    added: list[Term] = []
    tape = Tape()
    stand_in = _stand_in(layer, symbols, added)
    try:
        with _Scope(), drawing(tape):
            written = _inside_a_call(
                training, lambda: type(layer).call(stand_in, *given.positional, **named)
            )
    except Untraceable:
        raise
    except Exception as error:  # whatever the user's code raises
        raise Untraceable(f"ends in {type(error).__name__}: {reason_of(error)}") from error
    outputs = keras.tree.flatten(written)
    if not outputs or not all(isinstance(each, keras.KerasTensor) for each in outputs):
        raise Untraceable("gives something else than tensors computed from its input")
    sources = (symbol for _, symbol in (*symbols.values(), *((0, one) for one, _ in tape.found)))
    handed_on = {id(each) for each in (*inputs, *sources)}
    outputs = [_identity(each) if id(each) in handed_on else each for each in outputs]
    losses = [
        replace(term, symbol=_identity(term.symbol)) if id(term.symbol) in handed_on else term
        for term in added
    ]
    held = [(variable, symbol) for variable, symbol in symbols.values() if _is_read(symbol)]
    inputs = [symbol for symbol in inputs if _is_read(symbol)]
    draws = [(symbol, one) for symbol, one in tape.found if _is_read(symbol)]
    if not inputs:
        raise Untraceable("computes nothing from its input")
    try:
        ends = [*outputs, *(term.symbol for term in losses)]
        drawn = (symbol for symbol, _ in draws)
        function = keras.Function([*inputs, *(symbol for _, symbol in held), *drawn], ends)
    except ValueError as error:
        raise Untraceable(f"makes no graph: {reason_of(error)}") from error
    weights = {id(symbol): variable for variable, symbol in held}
    read = given.positional[0] if given.positional else given.named
    handed_out = keras.tree.pack_sequence_as(written, outputs)
    found = Trace(layer, inputs, outputs, function, weights, read, handed_out, losses, draws)
    _check_training(found, training)
    return found


def _is_read(symbol: Any) -> bool:
    """Whether Keras noted a call that reads it."""
    return hasattr(symbol, "_keras_history")


def _identity(symbol: Any) -> Any:
    """A tensor that a call hands on as it is, as the output of a layer."""
    return keras.layers.Identity(name="identity")(symbol)


# The stand-in ------------------------------------------------------------------------------------


def _stand_in(layer: Any, symbols: dict[int, tuple[Any, Any]], added: list[Term]) -> Any:
    """An object like ``layer`` in which symbols stand for its own weights; ``added`` collects what
    it adds to the loss."""
    made = object.__new__(type(layer))
    for name, value in vars(layer).items():
        vars(made)[name] = _with_symbols(value, symbols)

    def add_loss(loss: Any) -> None:
        try:
            for one in keras.tree.flatten(loss):
                added.extend(terms_of(one))
        except Unadded as reason:
            raise Untraceable(f"adds a loss {reason}") from reason

    vars(made)["add_loss"] = add_loss
    return made


def _with_symbols(value: Any, symbols: dict[int, tuple[Any, Any]]) -> Any:
    """Lists and dicts of weights, too."""
    if isinstance(value, keras.Variable):
        if id(value) not in symbols:
            symbol = keras.KerasTensor(tuple(value.shape), value.dtype, name=value.name)
            symbols[id(value)] = value, symbol
        return symbols[id(value)][1]
    if isinstance(value, dict) and any(isinstance(v, keras.Variable) for v in value.values()):
        return {key: _with_symbols(each, symbols) for key, each in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(v, keras.Variable) for v in value):
        return [_with_symbols(each, symbols) for each in value]
    return copy.copy(value) if type(value) in (list, dict, set) else value


class _Scope(keras.StatelessScope):
    """While a call is followed its variables have no values, and none is written."""

    def __init__(self) -> None:
        super().__init__(initialize_variables=False)

    def get_current_value(self, variable: Any) -> Any:
        raise Untraceable(f"computes from {variable.path!r} in a way that no graph tells")

    def add_update(self, update: Any) -> None:
        raise Untraceable(f"assigns to {update[0].path!r}")

    def add_loss(self, loss: Any) -> None:
        raise Untraceable("adds a loss of its own")


@contextmanager
def _undisturbed(layer: Any) -> Iterator[None]:
    """Leaves layers without the calls that Keras notes on them when a symbol goes through, and the
    losses that they add to a trial."""
    every = layer._flatten_layers()
    lists = ((each._inbound_nodes, each._outbound_nodes) for each in every)
    noted = [(calls, len(calls)) for both in lists for calls in both]
    losses = [(each._loss_ids, set(each._loss_ids)) for each in every]
    try:
        yield
    finally:
        for calls, count in noted:
            del calls[count:]
        for identities, before in losses:
            identities.intersection_update(before)


class _Caller(keras.Layer):
    """Calls something as Keras does inside the call of a layer."""

    def __init__(self, body: Callable[[], None]) -> None:
        super().__init__(name="caller", dtype="float32")
        self.body = body

    def call(self, symbol: Any, training: Any = None) -> Any:
        return symbol

    def compute_output_spec(self, symbol: Any, training: Any = None) -> Any:
        self.body()
        return symbol


def _inside_a_call(training: bool | None, body: Callable[[], Any]) -> Any:
    """What ``body`` gives. Layers that it calls without a ``training`` of their own have this one;
    that of their own call where it is None. What ``body`` raises Keras would wrap up."""
    if training is None:
        return body()
    given: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            given.append((body(), None))
        except Exception as error:
            given.append((None, error))

    _Caller(run)(keras.KerasTensor((None, 1)), training=training)
    found, raised = given[0]
    if raised is not None:
        raise raised
    return found


# What must hold of a trace -----------------------------------------------------------------------


def _check_training(found: Trace, training: bool | None) -> None:
    """No layer is told another ``training`` than the call: the graph says none."""
    for node in _nodes(found):
        told = node.arguments.kwargs.get("training")
        if told is not None and bool(told) != bool(training):
            raise Untraceable(f"calls {node.operation.name!r} with training={told}")


def _signature(found: Trace) -> tuple[Any, ...]:
    """What a trace computes, so that equal ones can be told: its calls in order, with what they
    read by number."""
    numbers: dict[int, Any] = {id(symbol): number for number, symbol in enumerate(found.inputs)}
    numbers.update((symbol, ("weight", id(held))) for symbol, held in found.weights.items())
    for symbol, one in found.draws:
        numbers[id(symbol)] = one.kind, one.first, one.second, id(one.generator), one.number
    calls = []
    for place, node in enumerate(_nodes(found)):
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


def _nodes(found: Trace) -> Iterator[Any]:
    by_depth = found.function._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def _compare(layer: Any, given: _Given, found: Trace, training: bool | None, owner: Any) -> None:
    """Numbers of the trace and of the layer itself, for random weights and images."""
    present = _signature(found)
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
                theirs = _inside_a_call(training, lambda: layer(*positional, **named))
            drawn = [record.values[one.number] for _, one in found.draws]
            added = layer._get_own_losses()  # that of its activity_regularizer is the last one
            by_symbol = dict(zip(map(id, given.symbols), images, strict=True))
            read = [by_symbol[id(symbol)] for symbol in found.inputs]
            ours = _inside_a_call(training, lambda: found.function([*read, *weights, *drawn]))
    except Exception as error:  # whatever the user's code raises
        raise Untraceable(f"ends in {type(error).__name__}: {reason_of(error)}") from error
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
