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
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from convmill.design.fields import AxisField, Field, fields
from convmill.design.steps import design_of
from convmill.inspection.numbers import plural
from convmill.plan.pixels import PixelRange, pixel_range
from convmill.view.gradient import gradient
from convmill.view.images import many_images, one_image
from convmill.view.layers import (
    check_channels_last,
    check_one_input,
    find,
    image_shape,
    is_map,
    model_to,
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
    frame,
    framed,
)
from convmill.view.text import percent, range_said
from convmill.whole import is_whole

THRESHOLD = 1 - 0.9545  # two standard deviations of a normal distribution lie within
RANDOM_IMAGES = 64
TOGETHER = 64  # images whose gradients are computed at once
SPACE, WIDER_SPACE = 0.2, 0.3  # inches between three panels and between two
TALLEST = 7.0  # inches
# A field is drawn larger once more where it takes at most this part of the image's rows and of its
# columns, with this part of its size around it.
SMALL_FIELD, AROUND_IT = 0.5, 1 / 8
LABEL, BESIDE_BAR = "gradient / largest", 1.4  # inches for the label and what is about it
FRAME, OUTLINE = 2.4, 1.2  # points: where the two coincide both are seen

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


def receptive_field(
    model: Any,
    layer: str,
    *,
    unit: tuple[int, ...] | None = None,
    images: Any = None,
    image: Any = None,
    pixels: Any = None,
    dark: bool = False,
) -> Picture:
    """The field of one unit drawn on an image, and how strongly it depends on each pixel.

    A field that takes at most half of the image's rows and columns is drawn larger as well.

    Args:
        model: any built Keras model of one input that says the size of its images.
        layer: name of a layer that writes a feature map.
        unit: (row, column), for the sum of all channels, or (row, column, channel); None takes
            the middle.
        images: (n, height, width, channels), to take the gradient's mean over; None takes 64 of
            random pixels.
        image: what to draw the field on; None takes the first of ``images``, or grey.
        pixels: the range of random pixels, where no ``images`` are given: (lowest, highest), as
            ``activation_maximization`` takes it.
        dark: draws on a dark ground.

    Raises:
        ValueError: no such layer or unit, images of another shape, a model that reads none, no
            such range of pixels, or a range beside ``images``.
    """
    seen = see(model, layer, unit=unit, images=images, pixels=pixels)
    below = _background(model, images, image, seen)
    panels = _panels(seen)
    title = f"What a unit of {seen.layer} sees"
    with sheet(panels.height + BAR, title, _caption(seen), dark=dark) as page:
        _draw_field(page, seen, below, panels)
        _draw_gradient(page, seen, panels)
        if panels.zoom is not None:
            _draw_zoom(page, seen, below, panels, panels.zoom)
    return page.picture


def see(
    model: Any,
    layer: str,
    *,
    unit: tuple[int, ...] | None = None,
    images: Any = None,
    pixels: Any = None,
) -> Seen:
    """The figures behind ``receptive_field``; arguments and errors are the same."""
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


# Drawing ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Rows and columns of pixels, first and last."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top + 1, self.right - self.left + 1


@dataclass(frozen=True)
class Panels:
    """Two panels, or three where a part of the image, ``zoom``, is drawn larger; in inches."""

    zoom: Window | None
    side: float
    space: float
    height: float

    def left(self, index: int) -> float:
        """Where a panel begins."""
        return index * (self.side + self.space)


def _panels(seen: Seen) -> Panels:
    zoom = _zoom(seen)
    count, space = (2, WIDER_SPACE) if zoom is None else (3, SPACE)
    side = (BODY - (count - 1) * space) / count
    shapes = [seen.gradient.shape, *([zoom.size] if zoom else [])]
    aspect = max(height / width for height, width in shapes)
    return Panels(zoom, side, space, LINE + min(side * aspect, TALLEST))


def _zoom(seen: Seen) -> Window | None:
    """A small field with some pixels around it; None where it is not small."""
    if seen.rows is None or seen.columns is None:
        return None
    ends = []
    for (first, last), size in zip((seen.rows, seen.columns), seen.gradient.shape, strict=True):
        field = last - first + 1
        if field > SMALL_FIELD * size:
            return None
        around = max(1, round(AROUND_IT * field))
        ends += [max(first - around, 0), min(last + around, size - 1)]
    return Window(*ends)


def _caption(seen: Seen) -> str:
    rows, columns = seen.size
    at_most = "" if seen.exact else "at most "
    row, column = seen.unit
    which = "the sum of all channels" if seen.channel is None else f"channel {seen.channel}"
    return (
        f"Unit at row {row}, column {column} of {seen.shape[0]}×{seen.shape[1]}, {which}. Frame: "
        f"the theoretical field, {at_most}{rows}×{columns} pixels; inside the image it covers "
        f"{percent(seen.share)}. {_effective_text(seen)}"
    )


def _effective_text(seen: Seen) -> str:
    pixels = int(seen.effective.sum())
    of = plural(seen.images, "image" if seen.pixels is None else "random image")
    random = "" if seen.pixels is None else f" {range_said(seen.pixels)}"
    if not pixels:
        return f"Its gradient is 0 over {of}: there is no effective field to show.{random}"
    side = f"{math.sqrt(pixels):.1f}"
    return (
        f"Blue line: the effective field, {pixels} pixels, as many as a square of {side}×{side}, "
        f"whose mean absolute gradient over {of} is above {percent(THRESHOLD, 2)} of the largest "
        f"(after Luo et al., 2016, who take the centre pixel's).{random}"
    )


def _background(model: Any, images: Any, image: Any, seen: Seen) -> Array:
    """What the field is drawn on."""
    if image is not None:
        return one_image(model, image)[0]
    if images is not None:
        return many_images(model, images[:1])[0]
    return np.full(seen.gradient.shape, 0.5, np.float32)


def _draw_field(page: Sheet, seen: Seen, below: Array, panels: Panels) -> None:
    """The image, with the frame; with the effective field too, unless a larger one shows it."""
    channels = channels_said(below.shape)
    said = f"image, {below.shape[0]}×{below.shape[1]}" + (f", {channels}" if channels else "")
    page.text(0, 0, said, fontsize=SMALL_SIZE)
    axes = page.axes(0, LINE, panels.side, panels.height - LINE)
    _draw_below(axes, below)
    _draw_frame(axes, seen)
    if panels.zoom is None:
        _draw_outline(axes, seen)


def _draw_zoom(page: Sheet, seen: Seen, below: Array, panels: Panels, zoom: Window) -> None:
    """The part of the image with the field."""
    left = panels.left(1)
    said = f"rows {zoom.top} to {zoom.bottom}, columns {zoom.left} to {zoom.right}"
    page.text(left, 0, said, fontsize=SMALL_SIZE)
    axes = page.axes(left, LINE, panels.side, panels.height - LINE)
    _draw_below(axes, below)
    _draw_frame(axes, seen)
    _draw_outline(axes, seen)
    _show_only(axes, zoom)


def _draw_below(axes: Axes, below: Array) -> None:
    draw_image(axes, below, **({} if np.ptp(below) else {"vmin": 0.0, "vmax": 1.0}))
    axes.set_anchor("NW")
    framed(axes)


def _draw_gradient(page: Sheet, seen: Seen, panels: Panels) -> None:
    """The mean absolute gradient, by its largest value."""
    left = panels.left(1 if panels.zoom is None else 2)
    page.text(left, 0, "how much each pixel counts", fontsize=SMALL_SIZE)
    axes = page.axes(left, LINE, panels.side, panels.height - LINE)
    share = seen.gradient / (seen.gradient.max() or 1.0)
    drawn = axes.imshow(share, cmap=SEQUENTIAL, vmin=0.0, vmax=1.0)
    bare(axes)
    axes.set_anchor("NW")
    _draw_frame(axes, seen)
    if panels.zoom is not None:
        _show_only(axes, panels.zoom)
    page.colour_bar(drawn, panels.height, LABEL, left=left, width=panels.side - BESIDE_BAR)


def _show_only(axes: Axes, part: Window) -> None:
    axes.set_xlim(part.left - 0.5, part.right + 0.5)
    axes.set_ylim(part.bottom + 0.5, part.top - 0.5)


def _draw_frame(axes: Axes, seen: Seen) -> None:
    """The theoretical field, as far as it lies inside the image."""
    if seen.rows is None or seen.columns is None:
        return
    (top, bottom), (left, right) = seen.rows, seen.columns
    frame(axes, left - 0.5, top - 0.5, right - left + 1, bottom - top + 1, ec=ORANGE, lw=FRAME)


def _draw_outline(axes: Axes, seen: Seen) -> None:
    """A line around the effective field, along the pixels' edges."""
    axes.add_collection(
        LineCollection(outline(seen.effective), colors=SKY, linewidths=OUTLINE, clip_on=False),
        autolim=False,
    )


def outline(mask: NDArray[np.bool_]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The edges between pixels that are in ``mask`` and those that are not, as (x, y) to (x, y)."""
    padded = np.pad(mask, 1)
    upper = np.argwhere(padded[1:] != padded[:-1])  # (row below the edge, column + 1)
    left = np.argwhere(padded[:, 1:] != padded[:, :-1])
    lines = [((x - 1.5, y - 0.5), (x - 0.5, y - 0.5)) for y, x in upper.tolist()]
    return lines + [((x - 0.5, y - 1.5), (x - 0.5, y - 0.5)) for y, x in left.tolist()]
