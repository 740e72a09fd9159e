"""One convolution, patch by patch: a window times a kernel, summed, is one response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convmill.inspection.numbers import MINUS, plural
from convmill.view.patch import Patch, patch
from convmill.view.sheet import BAR, BODY, LINE, Sheet, sheet
from convmill.view.style import (
    DIVERGING,
    GREY,
    LETTER,
    ORANGE,
    POINTS_PER_INCH,
    SMALL_SIZE,
    TEXT_SIZE,
    THIN,
    TITLE_SIZE,
    Picture,
    bare,
    draw_image,
    frame,
    framed,
    symmetric,
    width_in_points,
)
from convmill.view.tiles import scale_of

MAP_GAP, SIGN = 0.4, 0.42  # inches between the two maps, and for a sign between two panels
TALLEST_MAP, TALLEST = 2.6, 3.0
SPACE = 0.1
SMALLEST_NUMBER = 6.0  # points; where numbers would be smaller the cells are left bare
SUM_LINE = 0.21
BEFORE_NAMES = 0.15  # inches between the sum's numbers and what they are
HATCH = "#909090"
# As wide as a digit and as a minus sign.
DIGIT_SPACE, MINUS_SPACE = "\N{FIGURE SPACE}", "\N{FIGURE SPACE}\N{THIN SPACE}"

Array = NDArray[np.float64]


def patches(
    model: Any,
    image: Any,
    layer: str | None = None,
    *,
    filter: int = 0,
    place: tuple[int, int] | None = None,
    channel: int | None = None,
    dark: bool = False,
) -> Picture:
    """How one number of a response map comes about: the window, the kernel, products, sum, bias.

    Every panel has a scale of its own, which stands below it.

    Args:
        model: any built Keras model of one input.
        image: (height, width), (height, width, channels) or (1, height, width, channels), real
            numbers, as the model reads them.
        layer: name of a ``Conv2D``; None takes the first.
        filter: which of its filters.
        place: (row, column) in the response map; None takes the strongest response.
        channel: which channel of the layer's input is shown, one that the filter reads; None
            takes the first. The others that it reads enter the sum.
        dark: draws on a dark ground.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: no such layer, filter, place or channel, or an image of another shape.
    """
    found = patch(model, image, layer, filter=filter, place=place, channel=channel)
    lines = _sum_lines(found)
    side = (BODY - MAP_GAP) / 2
    above = LINE + min(side * max(_padded_aspect(found), _aspect(found.written)), TALLEST_MAP)
    width = (BODY - 2 * SIGN) / 3
    middle = LINE + min(width * _aspect(found.kernel), TALLEST)
    lower = above + BAR + SPACE
    below = lower + middle + BAR + SPACE
    cells = _cells(found, min(width / found.kernel.shape[1], (middle - LINE) / len(found.rows)))
    title = f"One response of {found.layer}, filter {found.filter}"
    caption = _caption(found, written=cells.size >= SMALLEST_NUMBER)
    with sheet(below + SUM_LINE * len(lines), title, caption, dark=dark) as page:
        _draw_read(page, found, side, above)
        _draw_written(page, found, side, above)
        _draw_products(page, found, cells, lower, width, middle)
        for axes in tuple(page.picture.axes):
            page.bar_below(axes)
        end = max(width_in_points(number, TEXT_SIZE) for number, _ in lines) / POINTS_PER_INCH
        for index, (number, name) in enumerate(lines):
            top = below + index * SUM_LINE
            page.text(end, top, number, ha="right")
            page.text(end + BEFORE_NAMES, top, name)
    return page.picture


def _aspect(values: Array) -> float:
    return values.shape[0] / values.shape[1]


def _padded_aspect(found: Patch) -> float:
    top, bottom, left, right = found.padding
    height, width = found.read.shape
    return (height + top + bottom) / (width + left + right)


def _caption(found: Patch, written: bool) -> str:
    numbers = "Numbers in cells are rounded; the sums are of all their digits."
    hatched = "Hatched: zero padding."
    return " ".join([numbers] * written + [hatched] * any(found.padding))


# The two maps -----------------------------------------------------------------------------------


def _draw_read(page: Sheet, found: Patch, side: float, height: float) -> None:
    """What the layer reads, with the window."""
    of = f", channel {found.channel}" if found.channels > 1 else ""
    page.text(0, 0, f"what the layer reads{of}, {_size(found.read)}", fontsize=SMALL_SIZE)
    axes = page.axes(0, LINE, side, height - LINE)
    draw_image(axes, found.read, **_greys(found))
    axes.set_anchor("NW")
    framed(axes)
    _show_padding(axes, found)
    top, left = found.rows[0], found.columns[0]
    bottom, right = found.rows[-1], found.columns[-1]
    _mark(axes, top, left, bottom - top + 1, right - left + 1)
    if (bottom - top, right - left) != (len(found.rows) - 1, len(found.columns) - 1):
        for row in found.rows:  # dilated: the pixels between them are not read
            for column in found.columns:
                _mark(axes, row, column, 1, 1, lw=0.8)


def _greys(found: Patch) -> dict[str, Any]:
    """The scale of what the layer reads, in both of its panels; one value alone lies between 0
    and itself."""
    low, high = float(found.read.min()), float(found.read.max())
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or float(low == 0)
    return {"cmap": GREY, "vmin": low, "vmax": high}


def _show_padding(axes: Axes, found: Patch) -> None:
    """Widens the axes by the padding, hatched."""
    top, bottom, left, right = found.padding
    height, width = found.read.shape
    axes.set_xlim(-0.5 - left, width - 0.5 + right)
    axes.set_ylim(height - 0.5 + bottom, -0.5 - top)
    corner, size = (-0.5 - left, -0.5 - top), (width + left + right, height + top + bottom)
    axes.add_patch(Rectangle(corner, *size, fill=False, hatch="////", lw=0, ec=HATCH, zorder=-1))


def _draw_written(page: Sheet, found: Patch, side: float, height: float) -> None:
    """The response map, with the place."""
    left = side + MAP_GAP
    page.text(left, 0, f"responses, {_size(found.written)}", fontsize=SMALL_SIZE)
    axes = page.axes(left, LINE, side, height - LINE)
    axes.imshow(found.written, **scale_of(found.written))
    bare(axes)
    framed(axes)
    axes.set_anchor("NW")
    _mark(axes, *found.place, 1, 1)


def _mark(axes: Axes, row: int, column: int, rows: int, columns: int, lw: float = 2.0) -> None:
    """A frame around pixels."""
    frame(axes, column - 0.5, row - 0.5, columns, rows, ec=ORANGE, lw=lw, zorder=3)


def _size(values: Array) -> str:
    return f"{values.shape[0]}×{values.shape[1]}"


# Window x kernel = products ---------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """The numbers of the three panels as texts, and in how many points they fit."""

    texts: tuple[list[list[str]], ...]
    size: float


def _cells(found: Patch, inches: float) -> Cells:
    """What is written in the cells, which are so many ``inches`` wide and high."""
    texts = tuple(_numbers(values) for values in (found.window, found.kernel, found.products))
    longest = max(len(text) for rows in texts for row in rows for text in row)
    return Cells(texts, min(TITLE_SIZE, 0.85 * inches * POINTS_PER_INCH / (LETTER * longest)))


def _draw_products(
    page: Sheet, found: Patch, cells: Cells, top: float, width: float, height: float
) -> None:
    panels = (
        ("window", found.window, _greys(found)),
        ("kernel", found.kernel, {"cmap": DIVERGING} | symmetric(found.kernel)),
        ("products", found.products, {"cmap": DIVERGING} | symmetric(found.products)),
    )
    for index, (name, values, scale) in enumerate(panels):
        left = index * (width + SIGN)
        page.text(left, top, name, fontsize=SMALL_SIZE)
        axes = page.axes(left, top + LINE, width, height - LINE)
        inside = np.ones_like(found.inside) if name == "kernel" else found.inside
        image = _draw_cells(axes, values, inside, **scale)
        if cells.size >= SMALLEST_NUMBER:
            _draw_edges(axes, values)
            _write_cells(axes, cells.texts[index], image.to_rgba(values), inside, cells.size)
        if index:
            middle = left - SIGN / 2, top + LINE + (height - LINE) / 2
            page.text(*middle, "=" if index == 2 else "×", ha="center", va="center", fontsize=16)


def _numbers(values: Array) -> list[list[str]]:
    """Every number with as many decimals as show two digits of the largest; 2 at least below 10."""
    largest = float(np.abs(values).max())
    decimals = 2
    if largest >= 10:
        decimals = 1 if largest < 100 else 0
    elif 0 < largest < 0.1:
        decimals = 3 if largest >= 0.01 else 4
    rounded = np.round(values, decimals) + 0.0  # no -0.00
    return [[_text(value, decimals) for value in row] for row in rounded]


def _text(value: float, decimals: int) -> str:
    """With a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", MINUS)


def _draw_cells(axes: Axes, values: Array, inside: NDArray[np.bool_], **scale: Any) -> AxesImage:
    """Coloured cells; those not ``inside`` are hatched instead."""
    image = axes.imshow(np.ma.masked_where(~inside, values), **scale)
    bare(axes)
    framed(axes)
    axes.set_anchor("NW")
    for row, column in np.argwhere(~inside):
        corner = column - 0.5, row - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", lw=0, ec=HATCH))
    return image


def _draw_edges(axes: Axes, values: Array) -> None:
    """Thin lines between cells: two neighbours may be equally white."""
    rows, columns = values.shape
    axes.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, lw=THIN, color=HATCH)
    axes.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, lw=THIN, color=HATCH)


def _write_cells(
    axes: Axes, texts: list[list[str]], colours: Any, inside: NDArray[np.bool_], size: float
) -> None:
    """A number in each cell that is inside, legible on the cell's colour (rows, columns, RGBA)."""
    options: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
    for row, column in np.argwhere(inside):
        colour = _legible_on(colours[row, column])
        axes.text(column, row, texts[row][column], color=colour, **options)


def _legible_on(colour: Any) -> str:
    """Black or white, by the brightness of an RGB colour (its weights: ITU-R BT.709)."""
    red, green, blue = colour[:3]
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


# The sum ----------------------------------------------------------------------------------------


def _sum_lines(found: Patch) -> list[tuple[str, str]]:
    """(number, what it is), line by line, to the response; signs and digits below each other where
    the numbers end at one place."""
    lines = [("", float(found.products.sum()), f"sum of the {found.products.size} products")]
    if found.other_channels:
        grouped = found.other_channels + 1 < found.channels
        others = plural(found.other_channels, "other channel") + " of its group" * grouped
        lines.append(_added(found.others, f"the same, of the {others} together"))
    if found.bias is not None:
        lines.append(_added(found.bias, "bias of the filter"))
    where = f"the response at row {found.place[0]}, column {found.place[1]}"
    if found.activation == "linear":
        lines.append(("= ", found.total, where))
    else:
        lines.append(("= ", found.total, "before the activation"))
        lines.append(("", found.response, f"after {found.activation}: {where}"))
    texts = _of_one_width([number for _, number, _ in lines])
    return [(sign + text, name) for (sign, _, name), text in zip(lines, texts, strict=True)]


def _added(value: float, name: str) -> tuple[str, float, str]:
    return ("− " if value < 0 else "+ "), abs(value), name


def _of_one_width(numbers: Sequence[float]) -> list[str]:
    """Numbers of four decimals, filled up in front with spaces."""
    texts = [_text(number, 4) for number in numbers]
    longest = max(len(text.removeprefix(MINUS)) for text in texts)
    below_zero = any(text.startswith(MINUS) for text in texts)
    return [
        MINUS_SPACE * (below_zero and not text.startswith(MINUS))
        + DIGIT_SPACE * (longest - len(text.removeprefix(MINUS)))
        + text
        for text in texts
    ]
