"""Activations by Keras' functions and layers: those that a layer is given for what it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import activations, layers, ops

from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.operations.layout import is_channels_last
from convmill.plan.written import class_of

OF_ALL = ("softmax", "log_softmax")  # of which each value depends on the others
# What Keras means by its functions; one that is not here is known by its name alone.
_FUNCTIONS: dict[Any, Activation] = {
    activations.linear: LINEAR,
    activations.exponential: Activation("exponential"),
    ops.exp: Activation("exponential"),
    activations.gelu: Activation("gelu"),
    ops.gelu: Activation("gelu_tanh"),  # the default of keras.ops is the approximation
    activations.mish: Activation("mish"),
}
_PLAIN = (
    *("relu", "sigmoid", "tanh", "softmax", "log_softmax", "selu", "silu", "softplus", "softsign"),
    *("hard_sigmoid", "hard_silu", "hard_tanh", "tanh_shrink", "sparse_plus", "sparse_sigmoid"),
    "log_sigmoid",
)
_OF_OPERATIONS = (
    *("log", "log1p", "expm1", "square", "sqrt", "rsqrt", "absolute", "negative", "reciprocal"),
)
for _keras in (activations, ops):
    for _name in _PLAIN:
        _FUNCTIONS[getattr(_keras, _name)] = Activation(_name)
    _FUNCTIONS[_keras.relu6] = Activation("relu", ceiling=6.0)
    _FUNCTIONS[_keras.leaky_relu] = Activation("leaky_relu", slope=0.2)
    _FUNCTIONS[_keras.elu] = Activation("elu", slope=1.0)
    _FUNCTIONS[_keras.celu] = Activation("celu", slope=1.0)
    _FUNCTIONS[_keras.hard_shrink] = Activation("hard_shrink", constants=(0.5,))
    _FUNCTIONS[_keras.soft_shrink] = Activation("soft_shrink", constants=(0.5,))
    _FUNCTIONS[_keras.squareplus] = Activation("squareplus", constants=(4.0,))
for _name in _OF_OPERATIONS:
    _FUNCTIONS[getattr(ops, _name)] = Activation(_name)
_FUNCTIONS[ops.abs] = Activation("absolute")


def read_activation(function: Any) -> Activation:
    """The activation that a layer's ``activation`` argument is, a function or a layer."""
    if isinstance(function, keras.Layer):
        known = class_of(function, LAYERS)
        return LAYERS[known](function) if known else Activation(type(function).__name__)
    for known, activation in _FUNCTIONS.items():
        if function is known:
            return activation
    name = _name_of(function)
    theirs = getattr(activations, name, None)
    if theirs is None or _is_keras(function):
        return Activation(name)
    return Activation(f"{name} of {getattr(function, '__module__', '?')}")


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _is_keras(function: Any) -> bool:
    name = _name_of(function)
    return any(function is getattr(module, name, None) for module in (activations, ops))


def own_activation(layer: Any) -> Any:
    """What a layer is given as its activation, where that is no Activation along its channels: a
    function of the user's, or a layer with weights or axes; else None."""
    function = getattr(layer, "activation", None)
    if class_of(layer, ACTIVATED) is None or function is None:
        return None
    if not is_channels_last(layer) and read_activation(function).name in OF_ALL:
        return function  # which goes along the last axis
    if not isinstance(function, keras.Layer):
        return None if _is_keras(function) else function
    known = class_of(function, LAYERS)
    along_last = getattr(function, "axis", -1) in (-1, [-1], (-1,))
    if known is None or not along_last or own_activation(function) is not None:
        return function
    return None


def relu(layer: Any) -> Activation:
    """Of a ReLU layer, or an operation with its arguments."""
    ceiling = None if layer.max_value is None else float(layer.max_value)
    threshold = (float(layer.threshold),) if layer.threshold else ()
    return Activation("relu", float(layer.negative_slope), ceiling, threshold)


LAYERS: dict[type, Callable[[Any], Activation]] = {
    layers.Activation: lambda layer: read_activation(layer.activation),
    layers.ReLU: relu,
    layers.LeakyReLU: lambda layer: Activation("leaky_relu", slope=float(layer.negative_slope)),
    layers.ELU: lambda layer: Activation("elu", slope=float(layer.alpha)),
    layers.Softmax: lambda _: Activation("softmax"),
}
# Layers that apply their activation to what they computed last, or compute nothing else.
ACTIVATED = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv1DTranspose, layers.Conv2DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.Dense, layers.EinsumDense, layers.Activation),
)
