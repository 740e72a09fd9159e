"""What a ``call`` written in Python computes, as a graph: called once with symbols for tensors.

The layer's own code runs on a stand-in: an object of the same class with the same attributes, where
a symbol stands for each weight. So the graph tells what the call computes from its weights, nothing
the user holds is written to, and a call that looks at numbers fails here instead of keeping them.
What comes out is compared with the layer by numbers.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import keras

from convmill.plan.added import Term
from convmill.plan.agreement import check_training, compare, signature
from convmill.plan.drawn import Tape, drawing
from convmill.plan.graph.shapes import Sizes
from convmill.plan.stand_in import Unwritten, inside_a_call, stand_in, undisturbed
from convmill.plan.traced import Given, Trace, Untraceable
from convmill.plan.written import own_call
from convmill.reasons import keras_reason


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
    given = Given(positional, {name: one for name, one in named.items() if name != "training"})
    return _traced(layer, given, training=False)


def trace_activation(layer: Any, tensor: Any) -> Trace:
    """Follows what a layer is given as its activation, for a symbol. Raises Untraceable."""
    called = keras.layers.Lambda(layer.activation, dtype=layer.dtype_policy, name="activation")
    return _traced(called, Given((tensor,), {}), training=False, owner=layer)


def _traced(layer: Any, given: Given, training: bool | None, owner: Any = None) -> Trace:
    """``training`` is None where nobody tells the layers that it calls. That its numbers agreed is
    kept by its ``owner``, itself or what it was made for."""
    with undisturbed(layer):
        found = _followed(layer, given, training)
        if _takes_training(layer):
            trained = _followed(layer, given, training=True)
            if signature(found) != signature(trained):
                raise Untraceable("does something else in training")
        compare(layer, given, found, training, layer if owner is None else owner)
    return found


def _takes_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def trace_model(model: Any, sizes: Sizes | None = None) -> Trace | None:
    """Follows the call of a model of the user's own class, for images of ``sizes``, or of those for
    which it was built; None where it is not built. Raises Untraceable."""
    given = built_for(model, sizes)
    if given is None:
        return None
    return _traced(model, Given((given,), {}), training=False if _takes_training(model) else None)


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


def _followed(layer: Any, given: Given, training: bool | None) -> Trace:
    inputs = given.symbols
    symbols: dict[int, tuple[Any, Any]] = {}  # by a variable's id: it, and its symbol
    added: list[Term] = []
    tape = Tape()
    made = stand_in(layer, symbols, added)
    with Unwritten(), drawing(tape):
        written = _called(layer, made, given, training)
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
        raise Untraceable(f"makes no graph: {keras_reason(error)}") from error
    weights = {id(symbol): variable for variable, symbol in held}
    read = given.positional[0] if given.positional else given.named
    handed_out = keras.tree.pack_sequence_as(written, outputs)
    found = Trace(layer, inputs, outputs, function, weights, read, handed_out, losses, draws)
    check_training(found, training)
    return found


def _called(layer: Any, made: Any, given: Given, training: bool | None) -> Any:
    """What the call of ``layer`` gives, with the stand-in that was ``made`` for it as itself."""
    named = given.named | ({"training": training} if _takes_training(layer) else {})
    try:
        return inside_a_call(training, lambda: type(layer).call(made, *given.positional, **named))
    except Untraceable:
        raise
    except Exception as error:  # whatever the user's code raises
        raise Untraceable(f"ends in {type(error).__name__}: {keras_reason(error)}") from error


def _is_read(symbol: Any) -> bool:
    """Whether Keras noted a call that reads it."""
    return hasattr(symbol, "_keras_history")


def _identity(symbol: Any) -> Any:
    """A tensor that a call hands on as it is, as the output of a layer."""
    return keras.layers.Identity(name="identity")(symbol)
