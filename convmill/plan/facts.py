"""What follows from an operation and shapes alone: its kind, what it reads, its arithmetic.

Multiply-adds are those with the values of a kernel, as the literature counts them. Everything else
that is computed is one operation for each value: comparisons, additions, activations, scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    Activate,
    AdaptivePooling,
    AddedLoss,
    Affine,
    Augment,
    Concatenate,
    Convolution,
    Dense,
    Input,
    Kind,
    Lookup,
    Merge,
    Normalize,
    Opaque,
    Operation,
    Penalize,
    Pooling,
    PoolingKind,
    Prelu,
    Reduce,
    Rescale,
    Separable,
    Weight,
)
from convmill.plan.graph.random import Draw, Dropout, Erase, Flip, Noise, RandomCrop, Tone, Warp
from convmill.plan.graph.shapes import Shape
from convmill.plan.reads import Reads, reads_of
from convmill.plan.resampling import INTERPOLATIONS, taps_of
from convmill.plan.windows import adaptive_spans, values_read


@dataclass(frozen=True)
class Facts:
    """What is known of one node.

    ``multiply_adds`` counts those with a kernel's values for one image, ``operations`` everything
    else that is computed: comparisons, additions, activations (those inside the layer too),
    normalization. ``counted`` is False where the arithmetic is not known. ``adds_bias`` says
    whether a kernel's products have a bias added, ``pooling`` what is taken of windows.
    """

    kind: Kind
    reads: Reads
    multiply_adds: int
    operations: int
    counted: bool
    activation: Activation
    adds_bias: bool
    pooling: PoolingKind | None


def facts(graph: Graph, node: Node) -> Facts:
    """The facts of a node of ``graph``."""
    operation, read = node.operation, graph.read(node)
    kind, activation = kind_of(operation), activation_of(operation)
    operations = operations_of(operation, read, node.shape)
    if kind != "activation" and activation != LINEAR:
        operations += math.prod(node.shape)
    return Facts(
        kind,
        reads_of(operation, read[0] if read else (), node.shape),
        node_multiply_adds(graph, node),
        operations,
        not isinstance(operation, Opaque) or operation.work is not None,
        activation,
        _adds_bias(operation),
        _pooling(operation),
    )


def kind_of(operation: Operation) -> Kind:
    """To which kind an operation belongs."""
    return operation.kind if isinstance(operation, Opaque) else _KINDS[type(operation)]


_KINDS: dict[type, Kind] = {
    Input: "input",
    Weight: "other",
    Lookup: "other",
    Convolution: "convolution",
    Separable: "convolution",
    Dense: "dense",
    Pooling: "pooling",
    AdaptivePooling: "pooling",
    Reduce: "other",
    Activate: "activation",
    Prelu: "activation",
    Rescale: "normalization",
    Affine: "normalization",
    Normalize: "normalization",
    Dropout: "dropout",
    Noise: "dropout",
    Draw: "other",
    Augment: "dropout",
    Flip: "dropout",
    Warp: "dropout",
    Tone: "dropout",
    RandomCrop: "shape",
    Erase: "dropout",
    Penalize: "other",
    AddedLoss: "other",
    Merge: "merge",
    Concatenate: "merge",
    Flatten: "shape",
    Reshape: "shape",
    Pad: "shape",
    Crop: "shape",
    Upsample: "shape",
    Resample: "shape",
    Move: "shape",
}


def activation_of(operation: Operation) -> Activation:
    """The activation that an operation computes, by itself or after its products."""
    match operation:
        case Separable(_, pointwise):
            return pointwise.activation
        case Convolution() | Dense() | Activate() | Opaque():
            return operation.activation
        case Prelu():
            return Activation("prelu")
    return LINEAR


def multiply_adds(operation: Operation, read: Shape, written: Shape) -> int:
    """Products with the values of a kernel, for one image.

    Each place that is written reads the whole kernel once; of a transposed convolution each place
    that is read meets all of it.
    """
    match operation:
        case Convolution(transposed=True):
            return math.prod(read) * math.prod(operation.kernel_size) * operation.filters
        case Convolution():
            channels = read[-1] // operation.groups
            return math.prod(written) * math.prod(operation.kernel_size) * channels
        case Separable(depthwise, pointwise):
            middle = (*written[:-1], depthwise.filters)
            own = multiply_adds(depthwise, read, middle)
            return own + multiply_adds(pointwise, middle, written)
        case Dense():
            return math.prod(written) * read[-1]
        case Opaque(kind="convolution" | "dense"):
            return operation.work or 0
    return 0


def node_multiply_adds(graph: Graph, node: Node) -> int:
    """Multiply-adds of a node for one image."""
    read = graph.read(node)
    return multiply_adds(node.operation, read[0], node.shape) if read else 0


def operations_of(operation: Operation, read: tuple[Shape, ...], written: Shape) -> int:
    """What else an operation computes for one image, activations inside a layer aside."""
    values = math.prod(written)
    match operation:
        case Pooling():  # one for each value that a window reads
            return values * math.prod(operation.pool_size)
        case AdaptivePooling():
            rows, columns = (adaptive_spans(read[0][axis], written[axis]) for axis in (0, 1))
            return values_read(rows) * values_read(columns) * written[-1]
        case Reduce() | AddedLoss():  # one for each value that is read
            return math.prod(read[0])
        case Warp(interpolation="bilinear"):  # each value is a mean of four
            return 4 * values
        case Merge():  # one for each value of each further input
            return values * max(len(read) - 1, 1)
        case Upsample() | Resample() if operation.interpolation in INTERPOLATIONS:
            if operation.interpolation == "nearest":
                return 0
            down, across = taps_of(operation, read[0], written)
            return values * down.count * across.count
        case Rescale() | Affine() | Normalize() | Prelu() | Penalize():
            return values
        case Draw():
            return math.prod(written)
        case Dropout() | Noise() | Tone() | Erase():
            return values
        case Activate():
            return values if operation.activation != LINEAR else 0
        case Opaque():
            return 0 if operation.kind in ("convolution", "dense") else operation.work or 0
    return 0


def _pooling(operation: Operation) -> PoolingKind | None:
    match operation:
        case Pooling() | AdaptivePooling():
            return operation.kind
        case Opaque():
            return operation.pooling
    return None


def _adds_bias(operation: Operation) -> bool:
    match operation:
        case Convolution() | Dense():
            return operation.bias is not None
        case Separable(_, pointwise):
            return pointwise.bias is not None
        case Opaque():
            return operation.adds_bias
    return False
