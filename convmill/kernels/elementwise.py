"""Going over the values of a tensor one by one. Values of one row of pixels are neighbours in
memory; halos are stepped over."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels.lang import Emitter, Index
from convmill.lower.tensors import Tensor


def pixel_at(e: Emitter, tensor: Tensor, row: Index, column: Index) -> Index:
    """Offset of a pixel's first channel."""
    return e.add(tensor.origin, e.mul(row, tensor.row), e.mul(column, tensor.channels))


def rows(
    e: Emitter, source: Tensor, target: Tensor, body: Callable[[Index, Index, Index, int], None]
) -> None:
    """``body(offset in source, offset in target, element, count)`` for every vector of values."""
    length = source.width * source.channels
    with e.loop(0, source.height) as row:
        start = e.add(source.origin, e.mul(row, source.row))
        goal = e.add(target.origin, e.mul(row, target.row))
        first = e.mul(row, length)
        e.vectors(
            length,
            lambda at, count: body(e.add(start, at), e.add(goal, at), e.add(first, at), count),
        )


def pixels(
    e: Emitter, source: Tensor, target: Tensor, body: Callable[[Index, Index], None]
) -> None:
    """``body(offset in source, offset in target)`` for every pixel."""
    with e.loop(0, source.height) as row, e.loop(0, source.width) as column:
        away = e.mul(column, source.channels)
        body(
            e.add(source.origin, e.mul(row, source.row), away),
            e.add(target.origin, e.mul(row, target.row), away),
        )
