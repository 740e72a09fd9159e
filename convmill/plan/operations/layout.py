"""How layers say where channels and axes are."""

from __future__ import annotations

from typing import Any


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
