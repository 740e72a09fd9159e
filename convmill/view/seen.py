"""What one unit sees, in figures: its theoretical receptive field, and the effective one inside.

The effective field is the mean of the absolute gradient of the unit with respect to each pixel,
after Luo, Li, Urtasun and Zemel, "Understanding the effective receptive field in deep convolutional
neural networks", 2016. They count a pixel in where it has more than 1 - 95.45 % of the centre
pixel's; here it is the largest, which need not lie in the centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.design.fields import AxisField, Field, fields
from convmill.design.steps import design_of
from convmill.plan.pixels import PixelRange, pixel_range
from convmill.view.gradient import gradient
from convmill.view.images import many_images
from convmill.view.layers import (
    check_channels_last,
    check_one_input,
    find,
    image_shape,
    is_map,
    model_to,
)
from convmill.whole import is_whole

THRESHOLD = 1 - 0.9545  # two standard deviations of a normal distribution lie within
RANDOM_IMAGES = 64
TOGETHER = 64  # images whose gradients are computed at once

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What the unit at ``unit`` of a layer sees of the image.

    ``size`` is the theoretical field, (height, width), borders ignored; ``rows`` and ``columns``
    are its first and last pixel inside the image, None where it sees nothing of it. ``exact`` is
    False where the field may be smaller than that: behind a layer that we do not know, or where
    units see unlike numbers of pixels, and this one fewer than others. ``gradient`` is the mean
    absolute gradient, (height, width), summed over the channels of the image, over so many
    ``images``; ``pixels`` is the range of random ones, None where they were given.
    """

    layer: str
    shape: tuple[int, int]
    unit: tuple[int, int]
    channel: int | None
    size: tuple[int, int]
    rows: tuple[int, int] | None
    columns: tuple[int, int] | None
    exact: bool
    gradient: Array
    images: int
    pixels: PixelRange | None

    @property
    def share(self) -> float:
        """The share of the image's pixels inside the theoretical field."""
        if self.rows is None or self.columns is None:
            return 0.0
        sides = [last - first + 1 for first, last in (self.rows, self.columns)]
        return math.prod(sides) / self.gradient.size

    @property
    def effective(self) -> NDArray[np.bool_]:
        """Which pixels belong to the effective field."""
        return self.gradient > THRESHOLD * self.gradient.max()


def see(
    model: Any,
    layer: str,
    *,
    unit: tuple[int, ...] | None = None,
    images: Any = None,
    pixels: Any = None,
) -> Seen:
    """The figures behind ``receptive_field.receptive_field``; arguments and errors are the same."""
    check_one_input(model)
    call = find(model, layer, is_map, "layer that writes a feature map")
    check_channels_last(call)
    shape = image_shape(model)
    design = design_of(model, shape)
    height, width, channels = design.step(call.name).shape
    row, column, channel = _checked(unit, (height, width, channels))
    random = _random_range(model, images, pixels, shape)
    looked_at = many_images(model, images) if random is None else _random(random, shape)
    field = _field(fields(design)[call.name])
    return Seen(
        layer=call.name,
        shape=(height, width),
        unit=(row, column),
        channel=channel,
        size=(field.rows.size, field.columns.size),
        rows=field.rows.spans[row],
        columns=field.columns.spans[column],
        exact=field.known and _is_exact(field.rows, row) and _is_exact(field.columns, column),
        gradient=_mean_gradient(model_to(model, call.name), looked_at, row, column, channel),
        images=len(looked_at),
        pixels=random,
    )


def _field(found: dict[str, Field]) -> Field:
    (field,) = found.values()  # the model has one input
    return field


def _is_exact(axis: AxisField, unit: int) -> bool:
    """Whether ``axis.size`` is this unit's; of units that are not evenly spaced it is the largest
    of all.
    """
    first, last = axis.spans[unit] or (0, -1)
    return axis.jump is not None or last - first + 1 == axis.size


def _checked(unit: Any, shape: tuple[int, int, int]) -> tuple[int, int, int | None]:
    """Row, column and channel (None: all) of a unit; ValueError where there is none such."""
    if unit is None:
        return shape[0] // 2, shape[1] // 2, None
    given = tuple(unit) if isinstance(unit, (tuple, list, np.ndarray)) else ()
    fits = len(given) in (2, 3) and all(
        is_whole(index) and 0 <= index < size for index, size in zip(given, shape, strict=False)
    )
    if not fits:
        raise ValueError(
            f"unit must be (row, column) or (row, column, channel), below {shape}. "
            f"Received: unit={unit}"
        )
    row, column, *channel = map(int, given)
    return row, column, channel[0] if channel else None


def _random_range(
    model: Any, images: Any, pixels: Any, shape: tuple[int, ...]
) -> PixelRange | None:
    """The range of random pixels; None where images are given."""
    if images is None:
        return pixel_range(model, pixels, *shape[2:])
    if pixels is not None:
        raise ValueError(
            "pixels is the range of random images, and images are taken as they are: leave one of "
            f"them out. Received: pixels={pixels!r} and images"
        )
    return None


def _random(pixels: PixelRange, shape: tuple[int, ...]) -> Array:
    return pixels.scaled(np.random.default_rng(0).uniform(0, 1, (RANDOM_IMAGES, *shape)))


def _mean_gradient(model: Any, images: Array, row: int, column: int, channel: int | None) -> Array:
    """Mean over ``images`` of the unit's absolute gradient, (height, width)."""
    which = slice(None) if channel is None else slice(channel, channel + 1)
    compute = gradient(model, lambda maps: keras.ops.sum(maps[:, row, column, which]))
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(images), TOGETHER):
        _, slopes = compute(images[start : start + TOGETHER])
        total += np.abs(slopes).sum(axis=0)
    mean = total.reshape(*total.shape[:2], -1).sum(axis=2) / len(images)
    return mean.astype(np.float32)
