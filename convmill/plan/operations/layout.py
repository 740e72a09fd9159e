"""How layers say where channels and axes are. What has places along one axis is an image of height
1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convmill.plan.graph import Pair, Shape


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
