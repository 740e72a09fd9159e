"""Many small images in one grid: filters, response maps, images that excite a filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from convmill.view.sheet import BODY, LINE
from convmill.view.style import (
    DIVERGING,
    POINTS_PER_INCH,
    SEQUENTIAL,
    SMALL_SIZE,
    bare,
    frame,
    symmetric,
    width_in_points,
)

COLUMNS = 8  # of square tiles, in the width of a picture
FEWEST, MOST = 4, 12
BOLD = 1.1  # how much wider bold letters are
GAP = 0.1  # between tiles, in widths of a tile


@dataclass(frozen=True)
class Grid:
    """Where ``count`` tiles lie; lengths are in widths of a tile, which is ``inches`` wide.

    ``aspect`` is a tile's height by its width. ``block`` rows and columns of places at the upper
    left are left free.
    """

    count: int
    columns: int
    aspect: float
    inches: float
    block: int = 0

    @property
    def label(self) -> float:
        """Height of the line of text above a tile."""
        return LINE / self.inches

    @property
    def pitch(self) -> float:
        """From the top of a tile's label to that of the tile below it."""
        return self.label + self.aspect + GAP

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return max(math.ceil((self.count + self.block**2) / self.columns), self.block)

    @property
    def height(self) -> float:
        """Inches from top to bottom."""
        return (self.rows * self.pitch - GAP) * self.inches

    def corner(self, index: int) -> tuple[float, float]:
        """Left and top of a tile."""
        beside = self.columns - self.block  # tiles in a row beside the block
        if index < self.block * beside:
            row, column = index // beside, self.block + index % beside
        else:
            row, column = divmod(index + self.block**2, self.columns)
        return column * (1 + GAP), row * self.pitch + self.label

    @property
    def block_size(self) -> tuple[float, float]:
        """Width and height of the block, in inches, without the line above it."""
        width = self.block * (1 + GAP) - GAP
        return width * self.inches, (self.block * self.pitch - GAP - self.label) * self.inches


def grid(
    count: int,
    shape: tuple[int, ...],
    block: int = 0,
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Grid:
    """A grid for ``count`` tiles of ``shape`` (height, width, ...) across a whole picture.

    Flat tiles get fewer columns than tall ones, so that all are about as large; so do few tiles,
    and those whose ``labels`` and ``notes`` would not fit beside each other above them.
    """
    aspect = shape[0] / shape[1]
    columns = round(COLUMNS * math.sqrt(aspect))
    texts = [f"{label}  {note}" for label, note in zip(labels, notes, strict=True)]
    widest = BOLD * max(map(width_in_points, texts), default=0) / POINTS_PER_INCH
    fitting = int(BODY / (widest * (1 + GAP))) if widest else MOST
    columns = min(max(min(columns, count + block), FEWEST), MOST, max(fitting, FEWEST))
    return Grid(count, columns, aspect, BODY / (columns * (1 + GAP) - GAP), block)


def draw_tiles(
    axes: Axes,
    grid: Grid,
    tiles: Sequence[NDArray[Any]],
    labels: Sequence[str],
    notes: Sequence[str] = (),
    scales: Sequence[dict[str, Any]] = (),
    **options: Any,
) -> AxesImage:
    """Draws tiles with a label above each; returns the last one's image, for a colour bar.

    ``axes`` must be as wide and as high as the grid. ``notes``, if there are any, stand above the
    right end of each tile, and labels are bold then. ``options`` go to Matplotlib's
    ``imshow``; give ``vmin`` and ``vmax`` for one scale for all, or ``scales`` with those of each.
    """
    text: dict[str, Any] = {"fontsize": SMALL_SIZE, "va": "bottom"}
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = grid.corner(index)
        extent = (left, left + 1, top + grid.aspect, top)
        scale = scales[index] if scales else {}
        image = axes.imshow(tile, extent=extent, aspect="auto", **(options | scale))
        frame(axes, left, top, 1, grid.aspect)  # a tile may be as white as the ground
        above = top - 0.15 * grid.label
        axes.text(left, above, label, weight="bold" if notes else "normal", **text)
        if notes:
            axes.text(left + 1, above, notes[index], ha="right", **text)
    axes.set_xlim(0, grid.columns * (1 + GAP) - GAP)
    axes.set_ylim(grid.rows * grid.pitch - GAP, 0)
    bare(axes)
    return image


def scale_of(values: NDArray[Any]) -> dict[str, Any]:
    """``imshow``'s colours: 0 in the middle for values of either sign, else from 0 on."""
    if values.min() < 0:
        return {"cmap": DIVERGING} | symmetric(values)
    return {"cmap": SEQUENTIAL, "vmin": 0.0, "vmax": float(np.max(values)) or 1.0}
