"""Which taps reach which places when a convolution runs backward, along one axis.

    output place o reads input place o * stride + tap * dilation - before

Seen from the input: places a stride apart, a sub-grid, are read through the same taps, each by
output places at a distance that is fixed. So a gradient is a dense sum over a few taps, and no
place is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from convmill.lower.stages import WindowedStage
from convmill.plan.graph.shapes import Pair


@dataclass(frozen=True)
class SubGrid:
    """Input places ``first``, ``first + step`` and so on, ``count`` of them: through each (tap,
    offset) of ``taps`` the n-th is read by output place ``n + offset``, where there is one."""

    first: int
    step: int
    count: int
    taps: tuple[tuple[int, int], ...]


def subgrids(
    size: int, window: int, stride: int, dilation: int, before: int
) -> tuple[SubGrid, ...]:
    """The sub-grids of an axis of ``size`` input places, ``before`` zeros ahead of them."""
    grids = []
    for first in range(min(stride, size)):
        away = [(tap, first + before - tap * dilation) for tap in range(window)]
        taps = tuple((tap, far // stride) for tap, far in away if far % stride == 0)
        grids.append(SubGrid(first, stride, -(-(size - first) // stride), taps))
    return tuple(grids)


def beyond(grids: Iterable[SubGrid], size: int) -> tuple[int, int]:
    """How many places before and behind ``size`` output places sub-grids look at."""
    before, after = 0, 0
    for grid in grids:
        for _, offset in grid.taps:
            before = max(before, -offset)
            after = max(after, offset + grid.count - size)
    return before, after


@dataclass(frozen=True)
class Room:
    """A stage's output between zeros, as wide as the sub-grids of its input look: ``grids`` of rows
    and of columns, ``border`` places before the output's first, and ``extent``, all places."""

    grids: tuple[tuple[SubGrid, ...], tuple[SubGrid, ...]]
    border: Pair
    extent: Pair


def room_around(stage: WindowedStage) -> Room:
    """The room in which the gradient of a stage's input is gathered."""
    sizes = (stage.input.height, stage.input.width)
    rows, columns = (
        subgrids(
            sizes[axis],
            stage.kernel_size[axis],
            stage.strides[axis],
            stage.dilation[axis],
            stage.padding[2 * axis],
        )
        for axis in (0, 1)
    )
    height, width = stage.output.height, stage.output.width
    (above, below), (left, right) = beyond(rows, height), beyond(columns, width)
    extent = (above + height + below, left + width + right)
    return Room((rows, columns), (above, left), extent)
