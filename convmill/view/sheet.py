"""A picture whose parts lie where they are put, in inches: for grids and for several images.

Elsewhere Matplotlib's constrained layout does well; where the sizes of all parts are known
beforehand, placing them is exact and quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from convmill.view.style import (
    MARGIN,
    POINTS_PER_INCH,
    SMALL_SIZE,
    THIN,
    TITLE_SIZE,
    WIDTH,
    Picture,
    drawing,
    wrapped,
)

TITLE = 0.42  # from the upper edge to what lies below the title
LINE = 1.35 * SMALL_SIZE / POINTS_PER_INCH
BODY = WIDTH - 2 * MARGIN  # the width that parts may take
BAR = 0.5  # height of a colour bar, with its numbers and the space above it
BETWEEN_NUMBERS = 0.5  # from one number of a colour bar to the next, at least
SHORTEST_BAR = 0.7
INSET = 0.18  # room for half of a colour bar's first number


@dataclass(frozen=True)
class Sheet:
    """A picture with a title above and a caption below its body, where axes are placed."""

    picture: Picture

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at ``left`` from the body's left edge and ``top`` from its upper one; inches."""
        whole, tall = self.picture.get_size_inches()
        bottom = tall - TITLE - top - height
        return self.picture.add_axes(
            ((MARGIN + left) / whole, bottom / tall, width / whole, height / tall)
        )

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        """Text whose first line begins there; ``options`` go to Matplotlib's ``text``."""
        whole, tall = self.picture.get_size_inches()
        place = (MARGIN + left) / whole, 1 - (TITLE + top) / tall
        self.picture.text(*place, text, **({"va": "top", "ha": "left"} | options))

    def colour_bar(
        self, image: Any, top: float, label: str, *, left: float = 0.0, width: float = 2.6
    ) -> None:
        """A flat colour bar with its name at its right; it takes ``BAR`` inches."""
        bar = self.picture.colorbar(
            image, cax=self.axes(left + INSET, top + 0.18, width, 0.1), orientation="horizontal"
        )
        bar.outline.set_linewidth(THIN)  # its end may be as white as the ground
        bar.ax.tick_params(length=2, pad=2, labelsize=SMALL_SIZE)
        bar.locator = MaxNLocator(nbins=max(round(width / BETWEEN_NUMBERS), 1))
        bar.update_ticks()
        self.text(left + INSET + width + 0.12, top + 0.23, label, va="center", fontsize=SMALL_SIZE)

    def bar_below(self, axes: Axes) -> None:
        """A colour bar without a name below the image in ``axes``, as wide as that is drawn where
        it lies at the upper left."""
        whole, tall = self.picture.get_size_inches()
        box = axes.get_position(original=True)
        (left, right), (lower, upper) = axes.get_xlim(), axes.get_ylim()
        drawn = min(box.width * whole, box.height * tall * abs((right - left) / (upper - lower)))
        bar = {"left": box.x0 * whole - MARGIN, "width": max(drawn - 2 * INSET, SHORTEST_BAR)}
        self.colour_bar(axes.images[0], (1 - box.y0) * tall - TITLE, "", **bar)


@contextmanager
def sheet(height: float, title: str, caption: str = "", *, dark: bool = False) -> Iterator[Sheet]:
    """A new picture whose body is ``height`` inches; a long caption is broken into lines."""
    lines = wrapped(caption) if caption else ""
    below = MARGIN + (LINE * (lines.count("\n") + 1) + MARGIN if lines else 0)
    whole = TITLE + height + below
    with drawing(whole, dark=dark) as picture:
        picture.set_layout_engine("none")
        left = MARGIN / WIDTH
        picture.suptitle(title, x=left, y=1 - 0.1 / whole, ha="left", va="top", fontsize=TITLE_SIZE)
        if lines:
            y = MARGIN / whole
            picture.supxlabel(lines, x=left, y=y, ha="left", va="bottom", fontsize=SMALL_SIZE)
        yield Sheet(picture)
