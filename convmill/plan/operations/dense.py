"""Dense layers."""

from __future__ import annotations

import math

from keras import layers

from convmill.plan.graph import Dense, Opaque, Operation
from convmill.plan.operations.activations import inside
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call


def _dense(call: Call, parameters: Parameters) -> Operation:
    layer, kernel = call.layer, parameters.named(call.layer, "kernel")
    if kernel is None:
        return Opaque("dense", activation=inside(layer), adds_bias=bool(layer.use_bias))
    bias = parameters.named(layer, "bias")
    return Dense(units=layer.units, activation=inside(layer), kernel=kernel, bias=bias)


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
    return Opaque("dense", work, activation=inside(layer), adds_bias=layer.bias is not None)


TABLE = {layers.Dense: _dense, layers.EinsumDense: _einsum}
