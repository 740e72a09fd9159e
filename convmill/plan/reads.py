"""Which places each place of an operation's output reads."""

from __future__ import annotations

from dataclasses import dataclass

from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.operations import (
    Activate,
    AdaptivePooling,
    AddedLoss,
    Concatenate,
    Convolution,
    Dense,
    Lookup,
    Normalize,
    Opaque,
    Operation,
    Pooling,
    Reduce,
    Separable,
)
from convmill.plan.graph.random import RandomCrop
from convmill.plan.graph.shapes import Border, Pair, Shape
from convmill.plan.resampling import INTERPOLATIONS, spans, taps_of
from convmill.plan.windows import Span, adaptive_spans, transposed_spans


@dataclass(frozen=True)
class Same:
    """Each place reads the same place of every input: activations, sums, normalization."""


@dataclass(frozen=True)
class Windows:
    """Place i of an axis reads places ``i * stride - before + k * dilation``, k below ``size``.

    ``padding`` is (top, bottom, left, right); what a window reads there is zero, or is ignored.
    """

    size: Pair
    strides: Pair
    dilation: Pair
    padding: Border

    @property
    def extent(self) -> Pair:
        """Places from a window's first tap to its last, holes of the dilation included."""
        rows, columns = (
            (size - 1) * apart + 1 for size, apart in zip(self.size, self.dilation, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class Spans:
    """For each row and each column of the output, the first and last one it reads, or None."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]


@dataclass(frozen=True)
class Flat:
    """The places of the input in one axis: a unit sees what its place saw."""


@dataclass(frozen=True)
class Whole:
    """Every value may depend on every place of every input: dense layers, global pooling."""


@dataclass(frozen=True)
class Unknown:
    """It may read anything."""


Reads = Same | Windows | Spans | Flat | Whole | Unknown


def reads_of(operation: Operation, read: Shape, written: Shape) -> Reads:
    """What an operation reads; ``read`` is the shape of its first input, ``written`` that of its
    output."""
    match operation:
        case Opaque():
            return Whole() if operation.sees_all else Unknown()
        case Pooling(over_image=True) | AddedLoss():
            return Whole()
        case Convolution() | Separable() | Pooling() if len(written) != 3:  # along one axis
            return Unknown()
        case Convolution(transposed=True):
            return _transposed(operation, read, written)
        case Convolution():
            return _convolution(operation)
        case Separable(depthwise, _):
            return _convolution(depthwise)
        case Pooling(_, size, strides, padding):
            return Windows(size, strides, (1, 1), padding)
        case AdaptivePooling():
            rows, columns = (adaptive_spans(read[axis], written[axis]) for axis in (0, 1))
            return Spans(rows, columns) if max(written[:2]) > 1 else Whole()
        case Pad() | Crop() | Upsample() if len(written) != 3:  # along one axis
            return Unknown()
        case Pad((top, bottom, left, right)):
            return Windows((1, 1), (1, 1), (1, 1), (top, bottom, left, right))
        case Crop((top, bottom, left, right)):  # padding by less than nothing
            return Windows((1, 1), (1, 1), (1, 1), (-top, -bottom, -left, -right))
        case RandomCrop():  # as if it were cut from the middle
            top, left = ((read[axis] - written[axis]) // 2 for axis in (0, 1))
            bottom, right = read[0] - written[0] - top, read[1] - written[1] - left
            return Windows((1, 1), (1, 1), (1, 1), (-top, -bottom, -left, -right))
        case Upsample() | Resample():
            return _resampled(operation, read, written)
        case Move() | Lookup():
            return Unknown()
        case Flatten():
            return Flat()
        case Reduce(_, axes):
            return _reduced(axes, len(read))
        case Reshape():
            return Same() if read[:2] == written[:2] and len(read) > 1 else Unknown()
        case Dense():  # on images a 1x1 convolution
            return _of_last_axis(len(written))
        case Normalize(kind="group", axes=axes):
            return Whole() if axes == (-1,) else Unknown()
        case Normalize(kind="layer" | "rms" | "unit", axes=axes):
            return _along(axes, len(written))
        case Activate(activation, axes) if activation.name in ("softmax", "log_softmax"):
            return _along(axes, len(written))
        case Concatenate(axis):
            return Same() if axis == -1 else Unknown()
    return Same()


def _reduced(axes: tuple[int, ...], rank: int) -> Reads:
    """What a sum along axes depends on: whatever lies along the axes of the places, or all."""
    places = {axis for axis in axes if axis != -1}
    if len(places) == rank - 1:
        return Whole()
    return Unknown() if places or rank != 3 else Same()


def _along(axes: tuple[int, ...] | None, rank: int) -> Reads:
    """What each value depends on that shares a sum with others along axes; other axes than the
    last are not looked into."""
    return _of_last_axis(rank) if axes == (-1,) else Unknown()


def _of_last_axis(rank: int) -> Reads:
    """Values along the last axis together: those of a place of a map, all of a vector."""
    match rank:
        case 1:
            return Whole()
        case 3:
            return Same()
    return Unknown()


def _convolution(operation: Convolution) -> Windows:
    size, strides = operation.kernel_size, operation.strides
    return Windows(size, strides, operation.dilation, operation.padding)


def _transposed(operation: Convolution, read: Shape, written: Shape) -> Spans:
    rows, columns = (
        transposed_spans(
            read[axis],
            written[axis],
            operation.kernel_size[axis],
            operation.strides[axis],
            operation.dilation[axis],
            operation.padding[2 * axis],
        )
        for axis in (0, 1)
    )
    return Spans(rows, columns)


def _resampled(operation: Upsample | Resample, read: Shape, written: Shape) -> Reads:
    if operation.interpolation not in INTERPOLATIONS:
        return Unknown()
    rows, columns = map(spans, taps_of(operation, read, written))
    return Spans(rows, columns)
