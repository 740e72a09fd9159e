"""The picture of what one unit sees: its receptive field, theoretical and effective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.view.images import many_images, one_image
from convmill.view.seen import THRESHOLD, Seen, see
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

SPACE, WIDER_SPACE = 0.2, 0.3  # inches between three panels and between two
TALLEST = 7.0  # inches
# A field is drawn larger once more where it takes at most this part of the image's rows and of its
# columns, with this part of its size around it.
SMALL_FIELD, AROUND_IT = 0.5, 1 / 8
LABEL, BESIDE_BAR = "gradient / largest", 1.4  # inches for the label and what is about it
FRAME, OUTLINE = 3.2, 1.6  # points: where the two coincide both are seen

Array = NDArray[np.float32]


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
    """The field of one unit on an image, and how strongly it depends on each pixel, as ``see``
    finds them.

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
        TypeError: ``model`` is no Keras model.
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
