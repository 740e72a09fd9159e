"""Describes any graph of Keras layers as an Outline: shapes, windows, parameters, arithmetic.

``read.py`` reads what can be compiled and refuses the rest; here no layer is refused. One that
is not known is a step of its own kind, "other", that may read anything.
"""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import layers

from convmill.plan.graph import DeadEnd, Shape
from convmill.plan.known import Known, is_channels_last, known
from convmill.plan.outline import Outline, Step, Unknown
from convmill.plan.rebuild import rebuild
from convmill.plan.walk import Call, walk


def describe(model: Any, input_shape: Shape | None = None) -> Outline:
    """The Outline of a Keras model; the model is not changed.

    Args:
        model: a Sequential or functional model, built, or any with ``input_shape``.
        input_shape: the shape of one image, (height, width, channels), where the model does not
            say it, or to see what another size would bring.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: its layers cannot be known, or its sizes are not.
    """
    return outline_of(model, *rebuild(model, input_shape))


def outline_of(original: Any, model: Any, dead_end: DeadEnd | None = None) -> Outline:
    """The Outline of ``model``, what ``rebuild`` made of ``original``; ValueError for sizes that
    are not said."""
    followed = walk(model)
    first: dict[int, str] = {}  # the first call of each layer
    counted: set[int] = set()  # weights, which layers may share
    steps = []
    for call in followed.calls:
        _check_shape(call)
        steps.append(_step(call, first.get(id(call.layer)), counted))
        first.setdefault(id(call.layer), call.name)
    channels_last = all(is_channels_last(call.layer) for call in followed.calls)
    inside = counted if original is model else _in_layers(original)
    return Outline(
        name=model.name,
        steps=tuple(steps),
        inputs=followed.inputs,
        outputs=followed.outputs,
        dead_end=dead_end,
        channels_last=channels_last,
        held=_count(original.weights, inside),
        held_trainable=_count(original.trainable_weights, inside),
    )


def _in_layers(model: Any) -> set[int]:
    """The weights of a model's layers, and of those of models inside it; not its own."""
    if not getattr(model, "inputs", None):
        return {id(weight) for layer in model.layers for weight in layer.weights}
    called = [call.layer for call in walk(model).calls if isinstance(call.layer, keras.Layer)]
    return {id(weight) for layer in called for weight in layer.weights}


def _check_shape(call: Call) -> None:
    if None in call.shape:
        raise ValueError(
            f"layer {call.name!r} ({type(call.layer).__name__}) does not say the sizes of what it "
            f"writes: {call.shape}. Give it a compute_output_shape."
        )


def _step(call: Call, shared_with: str | None, counted: set[int]) -> Step:
    layer, found = call.layer, known(call)
    parameters = trainable = 0
    if isinstance(layer, keras.Layer):
        parameters = _count(layer.weights, counted)
        trainable = _count(layer.trainable_weights, counted)
        counted |= {id(weight) for weight in layer.weights}
    activation = _activation(layer, found) if found else "linear"
    return Step(
        name=call.name,
        layer=type(layer).__name__,
        kind=found.kind if found else "other",
        inputs=call.inputs,
        shape=call.shape,
        reads=found.reads if found else Unknown(),
        read=tuple(call.read[call.sources.index(name)] for name in call.inputs),
        parameters=parameters,
        trainable=trainable,
        multiply_adds=found.multiply_adds if found else 0,
        operations=_operations(call, activation, found),
        counted=found is not None,
        activation=activation,
        bias=bool(getattr(layer, "use_bias", False)),
        pool=found.pool if found else None,
        shared_with=shared_with,
    )


def _count(weights: Any, counted: set[int]) -> int:
    """Values of the weights that are not counted yet."""
    return sum(math.prod(weight.shape) for weight in weights if id(weight) not in counted)


def _activation(layer: Any, found: Known) -> str:
    """Name of the activation that a layer, or an operation, applies to what it computed."""
    if not isinstance(layer, keras.Layer):
        return _snake_case(type(layer).__name__) if found.kind == "activation" else "linear"
    if isinstance(layer, tuple(_ACTIVATION_LAYERS)):
        return _ACTIVATION_LAYERS.get(type(layer), "other")
    function = getattr(layer, "activation", None)
    if function is None:
        return "linear"
    if isinstance(function, keras.Layer):
        return _activation(function, found)
    return str(getattr(function, "__name__", type(function).__name__))


def _snake_case(name: str) -> str:
    """LeakyRelu: leaky_relu."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _operations(call: Call, activation: str, found: Known | None) -> int:
    """What a layer computes beside multiply-adds, an activation inside it as one for each value."""
    if found is None:
        return 0
    inside = found.kind != "activation" and activation != "linear"
    return found.operations + inside * math.prod(call.shape)


_ACTIVATION_LAYERS: dict[type, str] = {
    layers.ReLU: "relu",
    layers.LeakyReLU: "leaky_relu",
    layers.PReLU: "prelu",
    layers.ELU: "elu",
    layers.Softmax: "softmax",
}
