"""What one unit sees: its theoretical receptive field, and the effective one inside it.

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
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.plan.describe import describe
from convmill.plan.fields import AxisField, Field, fields
from convmill.view.gradient import gradient
from convmill.view.images import many_images, one_image
from convmill.view.layers import (
    check_channels_last,
    check_one_input,
    find,
    image_shape,
    is_map,
    model_to,
    pixel_range,
)
from convmill.view.sheet import BAR, BODY, LINE, Sheet, sheet
from convmill.view.style import (
    ORANGE,
    SEQUENTIAL,
    SKY,
    SMALL_SIZE,
    Picture,
    bare,
    channels_said,
    draw_image,
)
from convmill.view.text import percent
from convmill.whole import is_whole

THRESHOLD = 1 - 0.9545  # two standard deviations of a normal distribution lie within
RANDOM_IMAGES = 64
TOGETHER = 64  # images whose gradients are computed at once
SPACE = 0.3
TALLEST = 7.0  # inches

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What the unit at ``unit`` of a layer sees of the image.

    ``size`` is the theoretical field, (height, width), borders ignored; ``rows`` and ``columns``
    are its first and last pixel inside the image, None where it sees nothing of it. ``exact`` is
    False where the field may be smaller than that: behind a layer that we do not know, or where
    units see unlike numbers of pixels, and this one fewer than others. ``gradient`` is the mean
    absolute gradient, (height, width), summed over the channels of the image.
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


def receptive_field(
    model: Any,
    layer: str,
    *,
    unit: tuple[int, ...] | None = None,
    images: Any = None,
    image: Any = None,
    dark: bool = False,
) -> Picture:
    """The field of one unit drawn on an image, and how strongly it depends on each pixel.

    Args:
        model: any built Keras model of one input that says the size of its images.
        layer: name of a layer that writes a feature map.
        unit: (row, column), for the sum of all channels, or (row, column, channel); None takes
            the middle.
        images: (n, height, width, channels), to take the gradient's mean over; None takes 64 of
            random pixels.
        image: what to draw the field on; None takes the first of ``images``, or grey.
        dark: draws on a dark ground.

    Raises:
        ValueError: no such layer or unit, images of another shape, or a model that reads none.
    """
    seen = see(model, layer, unit=unit, images=images)
    below = _background(model, images, image, seen)
    side = (BODY - SPACE) / 2
    height = LINE + min(side * seen.gradient.shape[0] / seen.gradient.shape[1], TALLEST)
    title = f"What a unit of {seen.layer} sees"
    with sheet(height + BAR, title, _caption(seen, images is None), dark=dark) as page:
        _draw_field(page, seen, below, side, height)
        _draw_gradient(page, seen, side, height)
    return page.picture


def see(model: Any, layer: str, *, unit: tuple[int, ...] | None = None, images: Any = None) -> Seen:
    """The figures behind ``receptive_field``; arguments and errors are the same."""
    check_one_input(model)
    call = find(model, layer, is_map, "layer that writes a feature map")
    check_channels_last(call)
    shape = image_shape(model)
    outline = describe(model, shape)
    height, width, channels = outline.step(call.name).shape
    row, column, channel = _checked(unit, (height, width, channels))
    pixels = _random(model, shape) if images is None else many_images(model, images)
    field = _field(fields(outline)[call.name])
    return Seen(
        layer=call.name,
        shape=(height, width),
        unit=(row, column),
        channel=channel,
        size=(field.rows.size, field.columns.size),
        rows=field.rows.spans[row],
        columns=field.columns.spans[column],
        exact=field.known and _is_exact(field.rows, row) and _is_exact(field.columns, column),
        gradient=_mean_gradient(model_to(model, call.name), pixels, row, column, channel),
        images=len(pixels),
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


def _random(model: Any, shape: tuple[int, ...]) -> Array:
    low, high = pixel_range(model)
    noise = np.random.default_rng(0).uniform(low, high, (RANDOM_IMAGES, *shape))
    return noise.astype(np.float32)


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


# Drawing ----------------------------------------------------------------------------------------


def _caption(seen: Seen, random: bool) -> str:
    rows, columns = seen.size
    at_most = "" if seen.exact else "at most "
    row, column = seen.unit
    which = "the sum of all channels" if seen.channel is None else f"channel {seen.channel}"
    return (
        f"Unit at row {row}, column {column} of {seen.shape[0]}×{seen.shape[1]}, {which}. Frame: "
        f"the theoretical field, {at_most}{rows}×{columns} pixels; inside the image it covers "
        f"{percent(seen.share)}. {_effective_text(seen, random)}"
    )


def _effective_text(seen: Seen, random: bool) -> str:
    pixels = int(seen.effective.sum())
    of = plural(seen.images, "random image" if random else "image")
    if not pixels:
        return f"Its gradient is 0 over {of}: there is no effective field to show."
    side = f"{math.sqrt(pixels):.1f}"
    return (
        f"Tinted: the effective field, {pixels} pixels, as many as a square of {side}×{side}, "
        f"whose mean absolute gradient over {of} is above {percent(THRESHOLD, 2)} of the largest "
        "(after Luo et al., 2016, who take the centre pixel's)."
    )


def _background(model: Any, images: Any, image: Any, seen: Seen) -> Array:
    """What the field is drawn on."""
    if image is not None:
        return one_image(model, image)[0]
    if images is not None:
        return many_images(model, images[:1])[0]
    return np.full(seen.gradient.shape, 0.5, np.float32)


def _draw_field(page: Sheet, seen: Seen, below: Array, side: float, height: float) -> None:
    """The image, both fields on it."""
    channels = channels_said(below.shape)
    said = f"image, {below.shape[0]}×{below.shape[1]}" + (f", {channels}" if channels else "")
    page.text(0, 0, said, fontsize=SMALL_SIZE)
    axes = page.axes(0, LINE, side, height - LINE)
    scale = {} if np.ptp(below) else {"vmin": 0.0, "vmax": 1.0}
    draw_image(axes, below, **scale)
    axes.set_anchor("NW")
    mask = np.ma.masked_equal(seen.effective, False)
    axes.imshow(mask, cmap=ListedColormap([SKY]), alpha=0.5)
    _frame(axes, seen)


def _draw_gradient(page: Sheet, seen: Seen, side: float, height: float) -> None:
    """The mean absolute gradient, by its largest value."""
    left = side + SPACE
    page.text(left, 0, "how much the unit depends on each pixel", fontsize=SMALL_SIZE)
    axes = page.axes(left, LINE, side, height - LINE)
    share = seen.gradient / (seen.gradient.max() or 1.0)
    drawn = axes.imshow(share, cmap=SEQUENTIAL, vmin=0.0, vmax=1.0)
    bare(axes)
    axes.set_anchor("NW")
    _frame(axes, seen)
    label = "gradient / largest"
    page.colour_bar(drawn, height, label, left=left, width=side / 2)


def _frame(axes: Axes, seen: Seen) -> None:
    """The theoretical field, as far as it lies inside the image."""
    if seen.rows is None or seen.columns is None:
        return
    (top, bottom), (left, right) = seen.rows, seen.columns
    corner, size = (left - 0.5, top - 0.5), (right - left + 1, bottom - top + 1)
    axes.add_patch(Rectangle(corner, *size, fill=False, ec=ORANGE, lw=2, clip_on=False))
