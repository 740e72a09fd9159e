"""Maps of a figure over positions, such as accuracy over where in the image a digit stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from convmill.view.style import (
    NARROW,
    POINTS_PER_INCH,
    SEQUENTIAL,
    SMALL_SIZE,
    WIDTH,
    Picture,
    drawing,
    headline,
    width_in_points,
)
from convmill.view.text import whole

Array = NDArray[np.float64]

AROUND = 1.15  # inches for headline, colour bar and caption
ABOVE = 0.7  # inches around each map: its name, numbers of its axes
LEFT = 0.6
LINE = 0.15  # of a map's name beyond the first
LARGEST = 4.2  # inches of a map's longer side
MOST_BESIDE = 3
SMALLEST = 6.0  # points of the numbers in cells
BRIGHT = 0.55  # from here on the colours of the map are light, and what is written on them dark
DARK_INK, LIGHT_INK = "#1A1A1A", "#F4F4F4"


@dataclass(frozen=True)
class Place:
    """One axis of a map: its name and the value of each row, or column."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Map:
    """Numbers at positions, (rows, columns)."""

    label: str
    numbers: tuple[tuple[float, ...], ...]


def positions(
    maps: Sequence[Map],
    rows: Place,
    columns: Place,
    *,
    title: str,
    label: str,
    caption: str = "",
    decimals: int = 0,
    dark: bool = False,
    narrow: bool = False,
) -> Picture:
    """A map for each of ``maps``, all on one scale of colours, with the numbers written in.

    Args:
        maps: of one shape, (len(rows.values), len(columns.values)).
        rows, columns: what the axes are, rows from above.
        title, caption: of the picture; ``label`` is that of the colours, with their unit.
        decimals: of the numbers in the cells, which are left out where they would be too small,
            or where so few decimals do not tell them apart.
        dark: on a dark ground.
        narrow: for the width of a phone: maps below each other.

    Raises:
        ValueError: a map has another shape, or nothing finite is to be drawn.
    """
    shape = len(rows.values), len(columns.values)
    numbers = [np.array(each.numbers, np.float64) for each in maps]
    wrong = [each.shape for each in numbers if each.shape != shape]
    if wrong or not any(np.isfinite(each).any() for each in numbers):
        raise ValueError(
            f"maps must have shape {shape}, and a finite number. "
            f"Received: shapes {[each.shape for each in numbers]}"
        )
    width = NARROW if narrow else WIDTH
    beside = 1 if narrow else min(len(maps), MOST_BESIDE)
    below = math.ceil(len(maps) / beside)
    cell = min((width / beside - LEFT) / shape[1], LARGEST / max(shape))  # inches
    names = whole([each.label for each in maps], width / beside - LEFT)
    further = LINE * max(name.count("\n") for name in names)
    height = below * (cell * shape[0] + ABOVE + further) + AROUND
    finite = np.concatenate([each[np.isfinite(each)] for each in numbers])
    scale = Normalize(float(finite.min()), float(finite.max()))
    with drawing(height, width=width, dark=dark) as picture:
        panels = picture.subplots(below, beside, squeeze=False).ravel()
        for axes, name, each in zip(panels, names, numbers, strict=False):
            image = axes.imshow(each, cmap=SEQUENTIAL, norm=scale)
            _dress(axes, name, rows, columns, cell)
            _write(axes, scale, each, decimals, cell)
        for axes in panels[len(maps) :]:
            axes.remove()
        bar = picture.colorbar(
            image, ax=list(panels[: len(maps)]), location="bottom", aspect=40, shrink=0.7, pad=0.02
        )
        bar.set_label(label, fontsize=SMALL_SIZE)
        bar.outline.set_visible(False)
        headline(picture, title, caption)
    return picture


def _dress(axes: Axes, name: str, rows: Place, columns: Place, cell: float) -> None:
    axes.set_title(name, fontsize=SMALL_SIZE)
    axes.set_xlabel(columns.label, fontsize=SMALL_SIZE)
    axes.set_ylabel(rows.label, fontsize=SMALL_SIZE)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    texts = [f"{value:g}" for value in columns.values]
    widest = max(map(width_in_points, texts)) + 4
    step = math.ceil(widest / (POINTS_PER_INCH * cell))
    kept = range(0, len(texts), step)
    axes.set_xticks(kept, [texts[place] for place in kept])
    step = math.ceil(1.3 * SMALL_SIZE / (POINTS_PER_INCH * cell))
    kept = range(0, len(rows.values), step)
    axes.set_yticks(kept, [f"{rows.values[place]:g}" for place in kept])


def _write(axes: Axes, scale: Normalize, numbers: Array, decimals: int, cell: float) -> None:
    """The numbers in their cells, where they are large enough to be read."""
    texts = {
        place: f"{value:.{decimals}f}" for place, value in np.ndenumerate(numbers)
        if np.isfinite(value)
    }  # fmt: skip
    widest = max((width_in_points(text, 1.0) for text in texts.values()), default=1.0)
    size = min(0.8 * POINTS_PER_INCH * cell / widest, SMALL_SIZE)
    alike = len(set(texts.values())) == 1 and np.nanmin(numbers) != np.nanmax(numbers)
    if size < SMALLEST or alike:
        return
    for (row, column), text in texts.items():
        bright = scale(float(numbers[row, column])) > BRIGHT
        ink = DARK_INK if bright else LIGHT_INK
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
