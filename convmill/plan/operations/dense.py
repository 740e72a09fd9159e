"""Dense layers."""

from __future__ import annotations

import math

from keras import layers

from convmill.plan.calls import CONSTANT, Call
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.operations import Dense, Opaque, Operation
from convmill.plan.graph.parameters import Role
from convmill.plan.operations.activations import inside
from convmill.plan.operations.parameters import Parameters


def _dense(call: Call, parameters: Parameters) -> Operation:
    layer, kernel = call.layer, parameters.named(call.layer, "kernel")
    if kernel is None:
        return Opaque("dense", activation=inside(call), adds_bias=bool(layer.use_bias))
    bias = parameters.named(layer, "bias")
    return Dense(units=layer.units, activation=inside(call), kernel=kernel, bias=bias)


def _product(call: Call, parameters: Parameters) -> Operation:
    """A matrix product of an image with a weight."""
    weight = call.operands[-1]
    if call.sources != call.operands[:-1] or len(getattr(weight, "shape", ())) != 2:
        return Opaque("dense")
    role: Role = "constant" if weight.name == CONSTANT else "weight"
    return Dense(weight.shape[1], LINEAR, parameters.index(weight, role), None)


def _einsum(call: Call, parameters: Parameters) -> Operation:
    """Every value that is written sums over the letters of the equation that it does not have."""
    layer = call.layer
    operands, written = layer.equation.replace(" ", "").split("->")
    read, weights = operands.split(",")
    kernel = dict(zip(weights.replace(".", ""), layer.kernel.shape, strict=True))
    # from the end, since the batch, or what dots stand for, is at the front
    sizes = dict(zip(reversed(read.replace(".", "")), reversed(call.read[0]), strict=False))
    summed = [size for letter, size in {**sizes, **kernel}.items() if letter not in written]
    work = math.prod(call.shape) * math.prod(summed)
    return Opaque("dense", work, activation=inside(call), adds_bias=layer.bias is not None)


TABLE = {layers.Dense: _dense, layers.EinsumDense: _einsum}
OPERATIONS = dict.fromkeys(("Matmul", "Dot"), _product)
