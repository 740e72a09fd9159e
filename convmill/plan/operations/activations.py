"""Activations: of layers, inside layers, and as operations of Keras."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
from keras import activations, layers, ops

from convmill.plan.graph import LINEAR, Activate, Activation, Operation, Prelu
from convmill.plan.operations.layout import from_last, sizes_of
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call
from convmill.plan.written import class_of

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
_OF_ALL = ("softmax", "log_softmax")  # of which each value depends on the others


def activation_of(function: Any) -> Activation:
    """The activation that a layer's ``activation`` argument is, a function or a layer."""
    if isinstance(function, keras.Layer):
        known = class_of(function, _LAYERS)
        return _LAYERS[known](function) if known else Activation(type(function).__name__)
    for known, activation in _FUNCTIONS.items():
        if function is known:
            return activation
    name = str(getattr(function, "__name__", None) or type(function).__name__)
    theirs = getattr(activations, name, None)
    if theirs is None or function in (theirs, getattr(ops, name, None)):
        return Activation(name)
    return Activation(f"{name} of {getattr(function, '__module__', '?')}")


def inside(layer: Any) -> Activation:
    """The activation that a layer applies to what it computed."""
    function = getattr(layer, "activation", None)
    return LINEAR if function is None else activation_of(function)


def _relu(layer: Any) -> Activation:
    ceiling = None if layer.max_value is None else float(layer.max_value)
    threshold = (float(layer.threshold),) if layer.threshold else ()
    return Activation("relu", float(layer.negative_slope), ceiling, threshold)


_LAYERS: dict[type, Callable[[Any], Activation]] = {
    layers.Activation: lambda layer: activation_of(layer.activation),
    layers.ReLU: _relu,
    layers.LeakyReLU: lambda layer: Activation("leaky_relu", slope=float(layer.negative_slope)),
    layers.ELU: lambda layer: Activation("elu", slope=float(layer.alpha)),
    layers.Softmax: lambda _: Activation("softmax"),
}


def _activate(call: Call, parameters: Parameters) -> Operation:
    activation = activation_of(call.layer)
    inner = getattr(call.layer, "activation", call.layer)  # may be a layer again
    axis = getattr(inner, "axis", -1) if activation.name in _OF_ALL else -1
    return Activate(activation, from_last(axis, len(call.shape)))


def _prelu(call: Call, parameters: Parameters) -> Operation:
    alpha = parameters.named(call.layer, "alpha")
    sizes = sizes_of(tuple(call.layer.alpha.shape), call.shape)
    if alpha is None or sizes is None:
        return Activate(Activation("PReLU"))
    return Prelu(alpha, sizes)


def _operation(call: Call, parameters: Parameters) -> Operation:
    """An operation of Keras, such as keras.ops.relu(x)."""
    operation = call.layer
    axis = getattr(operation, "axis", -1)
    return Activate(_of_operation(operation), from_last(axis, len(call.shape)))


def _of_operation(operation: Any) -> Activation:
    name = _snake_case(type(operation).__name__)
    match name:
        case "re_lu":  # what keras.activations.relu makes of its arguments
            return _relu(operation)
        case "relu6":
            return Activation("relu", ceiling=6.0)
        case "leaky_relu":
            return Activation(name, slope=float(operation.negative_slope))
        case "elu" | "celu":
            return Activation(name, slope=float(operation.alpha))
        case "gelu":
            return Activation("gelu_tanh" if operation.approximate else "gelu")
        case "soft_shrink" | "hard_shrink":
            return Activation(name, constants=(float(operation.threshold),))
        case "threshold":
            constants = (float(operation.threshold), float(operation.default_value))
            return Activation(name, constants=constants)
        case "squareplus":
            return Activation(name, constants=(float(operation.b),))
        case "exp":
            return Activation("exponential")
        case "abs":
            return Activation("absolute")
    return Activation(name)


def _snake_case(name: str) -> str:
    """LeakyRelu: leaky_relu."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


TABLE = {**dict.fromkeys(_LAYERS, _activate), layers.PReLU: _prelu}
OPERATIONS = dict.fromkeys(
    (
        *("Relu", "ReLU", "Relu6", "LeakyRelu", "Elu", "Celu", "Selu", "Gelu", "Silu", "HardSilu"),
        *("Sigmoid", "HardSigmoid", "LogSigmoid", "SparseSigmoid", "Tanh", "HardTanh"),
        *("TanhShrink", "HardShrink", "SoftShrink", "Threshold", "Softplus", "Softsign", "Mish"),
        *("Squareplus", "SparsePlus", "Clip", "Softmax", "LogSoftmax", "Exp", "Expm1", "Log"),
        *("Log1p", "Square", "Sqrt", "Rsqrt", "Absolute", "Abs", "Negative"),
        "Reciprocal",
    ),
    _operation,
)
