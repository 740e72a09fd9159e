"""Activations: of layers, inside layers, and as operations of Keras."""

from __future__ import annotations

import re
from typing import Any

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.functions import LAYERS, OF_ALL, read_activation, relu
from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.operations import Activate, Operation, Prelu
from convmill.plan.operations.layout import from_last, sizes_of
from convmill.plan.operations.parameters import Parameters


def inside(call: Call) -> Activation:
    """The activation that a layer applies to what it computed; none that has calls of its own."""
    function = getattr(call.layer, "activation", None)
    return LINEAR if function is None or call.is_bare else read_activation(function)


def _activate(call: Call, parameters: Parameters) -> Operation:
    activation = read_activation(call.layer)
    inner = getattr(call.layer, "activation", call.layer)  # may be a layer again
    axis = getattr(inner, "axis", -1) if activation.name in OF_ALL else -1
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
            return relu(operation)
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


TABLE = {**dict.fromkeys(LAYERS, _activate), layers.PReLU: _prelu}
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
