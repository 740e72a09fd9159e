"""How layers say where channels and axes are. What has places along one axis is an image of height
1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convmill.plan.graph.shapes import Pair, Shape


def is_channels_last(layer: Any) -> bool:
    """Whether a layer counts channels last, as far as it says so."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def from_last(axis: Any, rank: int) -> tuple[int, ...] | None:
    """Axes as Keras counts them, the batch being axis 0, of images with ``rank`` axes; here -1 is
    the last one. None where they are not axes of one image."""
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    if None in axes:
        return None
    counted = tuple(sorted({one % (rank + 1) - (rank + 1) for one in axes}))
    return None if -(rank + 1) in counted else counted


def pair(given: Sequence[int]) -> Pair:
    """What a layer says of one axis or of two, along height and width."""
    height, width = (1, *given)[-2:]
    return height, width


def image(shape: Shape) -> Shape:
    """(steps, channels) as height, width and channels; an image as it is."""
    return (1, *shape)[-3:]


def sizes_of(shape: Shape, whole: Shape) -> Shape | None:
    """How many values of ``shape``, broadcast to that of a ``whole`` image, lie along rows
    (all axes before the last two together), columns and channels. None where it has some axes of
    the rows and not others."""
    *rows, width, channels = (1,) * max(3 - len(shape), 0) + shape
    *all_rows, _, _ = (1,) * max(3 - len(whole), 0) + whole
    rows = [1] * (len(all_rows) - len(rows)) + rows
    if rows != all_rows and any(size != 1 for size in rows):
        return None
    return math.prod(rows), width, channels
