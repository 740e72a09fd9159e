"""Trends: a figure over a factor, such as accuracy over the amount of data, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from convmill.view.style import (
    NARROW,
    POINTS_PER_INCH,
    SMALL_SIZE,
    WIDTH,
    Picture,
    drawing,
    headline,
    width_in_points,
)
from convmill.view.text import legend_height, whole

HEIGHT, NARROW_HEIGHT = 4.0, 3.6  # inches
MARKS = "os^Dvx*"  # colours are not all that tells lines apart
APART = 0.012  # of the axis: lines lie side by side, so that their intervals do not hide each other
LEFT = 0.8  # inches beside the axes
BESIDE_NAME = 0.5  # inches of the legend's line before a name, and of the space behind
BETWEEN = 8  # points between two numbers of the axis


@dataclass(frozen=True)
class Trend:
    """A figure at values ``at`` of a factor: its mean with its interval, NaN where there is none.
    All four are as long as each other."""

    label: str
    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def trends(
    lines: Sequence[Trend],
    *,
    title: str,
    factor: str,
    label: str,
    caption: str = "",
    logarithmic: bool = False,
    zero: bool = False,
    dark: bool = False,
    narrow: bool = False,
) -> Picture:
    """A line for each trend, with a bar for the interval of each of its points.

    Args:
        lines: in the order of the legend.
        title, caption: of the picture; ``factor`` and ``label`` are those of the axes.
        logarithmic: how the axis of the factor stands.
        zero: the figures are differences: a line stands at 0.
        dark: on a dark ground.
        narrow: for the width of a phone.

    Raises:
        ValueError: nothing finite is to be drawn, or a logarithmic factor is not above 0.
    """
    if not any(np.isfinite(line.mean).any() for line in lines):
        raise ValueError("lines must hold at least one finite mean. Received: none.")
    at = np.unique(np.concatenate([line.at for line in lines]))
    if logarithmic and at[0] <= 0:
        raise ValueError(f"a logarithmic factor must be above 0. Received: {at[0]:g}")
    width, height = (NARROW, NARROW_HEIGHT) if narrow else (WIDTH, HEIGHT)
    several = len(lines) > 1
    columns = 1 if narrow else 2
    names = whole([line.label for line in lines], (width - LEFT) / columns - BESIDE_NAME)
    legend = legend_height(names, columns) if several else 0.0
    with drawing(height + legend, width=width, dark=dark) as picture:
        axes = picture.subplots()
        _scale(axes, at, logarithmic, width)
        for index, (name, line) in enumerate(zip(names, lines, strict=True)):
            shift = APART * (index - (len(lines) - 1) / 2)
            colour = picture.theme.lines[index % len(picture.theme.lines)]
            x = _shifted(axes, np.array(line.at, np.float64), shift, logarithmic)
            _draw(axes, x, line, name, colour, MARKS[index % len(MARKS)])
        if zero:
            axes.axhline(0, color=picture.theme.faint, linewidth=1)
        axes.set_xlabel(factor)
        axes.set_ylabel(label)
        axes.grid(axis="y", alpha=0.3)
        if several:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(0, 1.01),
                ncols=columns,
                borderpad=0,
                borderaxespad=0.2,
            )
        headline(picture, title, caption)
    return picture


def _scale(axes: Axes, at: NDArray[np.float64], logarithmic: bool, width: float) -> None:
    """The axis of the factor, with numbers at the values that were measured, as many as fit."""
    if logarithmic:
        axes.set_xscale("log")
        space = (at[-1] / at[0]) ** 0.05 if len(at) > 1 else 2.0
        axes.set_xlim(at[0] / space, at[-1] * space)
    else:
        space = 0.05 * (at[-1] - at[0]) or 1.0
        axes.set_xlim(at[0] - space, at[-1] + space)
    axes.xaxis.set_major_locator(FixedLocator(_fitting(axes, at, width)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _fitting(axes: Axes, at: NDArray[np.float64], width: float) -> list[float]:
    """The values whose numbers do not touch; the last one always."""
    room = 0.8 * width * POINTS_PER_INCH
    low, high = (axes.transScale.transform((end, 1))[0] for end in axes.get_xlim())
    kept: list[float] = []
    edge = np.inf
    for value in at[::-1].tolist():
        place = (axes.transScale.transform((value, 1))[0] - low) / (high - low) * room
        half = width_in_points(_number(value), SMALL_SIZE) / 2
        if place + half + BETWEEN < edge:
            kept.append(value)
            edge = place - half
    return kept


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _shifted(
    axes: Axes, at: NDArray[np.float64], shift: float, logarithmic: bool
) -> NDArray[np.float64]:
    """Values moved by a part of the axis."""
    low, high = axes.get_xlim()
    return at * (high / low) ** shift if logarithmic else at + shift * (high - low)


def _draw(
    axes: Axes, x: NDArray[np.float64], line: Trend, name: str, colour: str, mark: str
) -> None:
    mean, low, high = (np.array(each) for each in (line.mean, line.low, line.high))
    axes.plot(x, mean, color=colour, marker=mark, markersize=5, label=name)
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(x[known], low[known], high[known], color=colour, linewidth=1.4)
