"""Estimates with their intervals, one row each: arms of a study, or differences beside zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from convmill.inspection.numbers import decimal
from convmill.view.style import (
    NARROW,
    POINTS_PER_INCH,
    SMALL_SIZE,
    WIDTH,
    Picture,
    Theme,
    drawing,
    headline,
)
from convmill.view.text import whole

# Inches of a row with dots that lie side by side; in a narrow picture it has its name above it.
ROW, NARROW_ROW = 0.38, 0.6
BELOW = 0.1  # inches from an interval to its dots
AROUND = 1.25  # inches for headline, axis and caption
WIDEST_NAME = 2.3  # inches of a line of a name
LINE = 0.15  # inches of one
TICKS = (1, 2, 2.5, 5, 10)
STACK = 4.4  # points between dots that lie on each other
DOT, POINT = 4.2, 6.5  # points across
MOST_STACKED = 24  # dots; of higher stacks the dots lie closer
BINS = 40  # places of stacks side by side
NAME_ABOVE = 0.12  # inches from an interval to its name


@dataclass(frozen=True)
class Estimate:
    """A mean with the interval ``low`` to ``high``, NaN where it has none, of single ``values``.

    One that is not ``told``, a difference that could as well be none, has a fainter colour.
    """

    label: str
    mean: float
    low: float
    high: float
    values: tuple[float, ...] = ()
    told: bool = True

    @property
    def finite(self) -> list[float]:
        """All numbers that can be drawn."""
        numbers = (self.mean, self.low, self.high, *self.values)
        return [number for number in numbers if np.isfinite(number)]


def intervals(
    estimates: Sequence[Estimate],
    *,
    title: str,
    label: str,
    caption: str = "",
    decimals: int = 2,
    zero: bool = False,
    marks: dict[str, float] | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> Picture:
    """A row for each estimate: its single values as small dots, those that are near each other
    stacked; above its mean a larger point, its interval a line.

    Args:
        estimates: in the order in which they stand, from above.
        title, caption: of the picture; ``label`` is that of the axis, with its unit.
        decimals: of the numbers beside the rows.
        zero: the numbers are differences: a line stands at 0, and numbers have their sign.
        marks: further values to mark by a line, by their names.
        dark: on a dark ground.
        narrow: for the width of a phone: names stand above their rows, and no numbers beside them.

    Raises:
        ValueError: there is no estimate, or none has a finite number.
    """
    if not any(estimate.finite for estimate in estimates):
        raise ValueError("estimates must hold at least one finite number. Received: none.")
    width, row = (NARROW, NARROW_ROW) if narrow else (WIDTH, ROW)
    names = whole([each.label for each in estimates], 0.92 * NARROW if narrow else WIDEST_NAME)
    further = LINE * max(name.count("\n") for name in names)  # of the longest name
    limits = _limits(estimates, marks or {})
    highest = max(_highest(estimate, limits) for estimate in estimates)
    stacked = (min(highest, MOST_STACKED) - 1) * STACK / POINTS_PER_INCH
    row += stacked + further if narrow else max(stacked, further)
    legend = 0.22 * len(marks or {})
    with drawing(row * len(estimates) + AROUND + legend, width=width, dark=dark) as picture:
        axes = picture.subplots()
        axes.set_xlim(*limits)
        _dress(axes, names, label, narrow, row, further)
        if zero:
            axes.axvline(0, color=picture.theme.faint, linewidth=1)
        _draw_marks(axes, marks or {}, picture.theme)
        step = STACK * min(1, MOST_STACKED / highest)
        for place, estimate in enumerate(estimates):
            _draw_dots(axes, place, estimate, picture.theme, row, step)
            _draw_interval(axes, place, estimate, picture.theme)
        if not narrow:
            _write_numbers(axes, estimates, decimals, "+" if zero else "")
        headline(picture, title, caption)
    return picture


def _dress(
    axes: Axes, names: Sequence[str], label: str, narrow: bool, row: float, further: float
) -> None:
    """The axes, with a name for each row: beside it, or above it where the picture is ``narrow``;
    ``further`` inches are for lines of names beyond the first."""
    places = range(len(names))
    room = NARROW_ROW / 2 + further if narrow else (ROW + further) / 2
    above = room / row  # of an interval, in rows
    axes.set_ylim(len(names) - above, -above - 0.1)
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if narrow else 6, steps=TICKS))
    axes.grid(axis="x", alpha=0.3)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if not narrow:
        axes.set_yticks(places, names)
        return
    axes.set_yticks([])
    for place, name in zip(places, names, strict=True):
        axes.annotate(
            name,
            (0, place - NAME_ABOVE / row),
            xycoords=axes.get_yaxis_transform(),
            va="bottom",
            fontsize=SMALL_SIZE,
        )


def _limits(estimates: Sequence[Estimate], marks: dict[str, float]) -> tuple[float, float]:
    """A little beyond all that is drawn."""
    numbers = [number for estimate in estimates for number in estimate.finite]
    low, high = min([*numbers, *marks.values()]), max([*numbers, *marks.values()])
    margin = 0.04 * (high - low) or 0.04 * abs(low) or 1.0
    return low - margin, high + margin


def _bins(estimate: Estimate, limits: tuple[float, float]) -> list[tuple[float, int]]:
    """Finite values from the least on, and the place of each among ``BINS``."""
    left, right = limits
    values = sorted(value for value in estimate.values if np.isfinite(value))
    return [(value, int((value - left) / (right - left) * BINS)) for value in values]


def _highest(estimate: Estimate, limits: tuple[float, float]) -> int:
    """How many dots lie on each other, at most; 1 where there are none."""
    return max(Counter(place for _, place in _bins(estimate, limits)).values(), default=1)


def _draw_dots(
    axes: Axes, place: int, estimate: Estimate, theme: Theme, row: float, step: float
) -> None:
    """Single values below the interval, in stacks of those that are near each other: ``step``
    points from one to the next, in rows of ``row`` inches."""
    seen: Counter[int] = Counter()
    for value, where in _bins(estimate, axes.get_xlim()):
        below = BELOW + step * seen[where] / POINTS_PER_INCH
        seen[where] += 1
        axes.plot(
            value,
            place + below / row,
            "o",
            markersize=DOT,
            color=theme.faint,
            alpha=0.75,
            markeredgewidth=0,
        )


def _draw_interval(axes: Axes, place: int, estimate: Estimate, theme: Theme) -> None:
    colour = theme.first if estimate.told else theme.faint
    if np.isfinite(estimate.low) and np.isfinite(estimate.high):
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
    if np.isfinite(estimate.mean):
        axes.plot(estimate.mean, place, "o", markersize=POINT, color=colour)


def _draw_marks(axes: Axes, marks: dict[str, float], theme: Theme) -> None:
    for index, (name, value) in enumerate(marks.items()):
        style: Any = ("--", ":", "-.")[index % 3]
        axes.axvline(value, color=theme.second, linewidth=1.2, linestyle=style, label=name)
    if marks:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.2)


def _write_numbers(axes: Axes, estimates: Sequence[Estimate], decimals: int, sign: str) -> None:
    """Mean and interval in words, right of each row."""
    for place, estimate in enumerate(estimates):
        axes.annotate(
            estimate_said(estimate, decimals, sign),
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_SIZE,
        )


def estimate_said(estimate: Estimate, decimals: int, sign: str = "") -> str:
    """ "0.21 [0.15, 0.27]", or the mean alone where it has no interval."""
    if not np.isfinite(estimate.mean):
        return "not measured"
    mean = decimal(estimate.mean, decimals, sign)
    if not np.isfinite(estimate.low):
        return mean
    low, high = (decimal(end, decimals) for end in (estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"
