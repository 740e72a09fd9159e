"""The confusion matrix: which classes a classifier takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_hex, to_rgb
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.view.predictions import Predictions, classify
from convmill.view.style import (
    LIGHT,
    POINTS_PER_INCH,
    SMALL_SIZE,
    TEXT_SIZE,
    THIN,
    WIDTH,
    Picture,
    Theme,
    drawing,
    headline,
    width_in_points,
)
from convmill.view.text import fitted, percent

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]

# Above this many classes cells are too small for numbers; colours alone tell.
MOST_NUMBERED = 20
MOST_LABELS = 60
USUAL, TALLEST = 4.4, 7.5  # inches: the height of the matrix
LOWEST_ROW, HIGHEST_ROW = 0.15, 0.42  # inches
WIDEST_NAME = 100.0  # points
BESIDE = 130  # points for what stands beside the matrix, class names apart
PALEST = 0.1  # the colour of the rarest mistakes, in parts of the strongest
AROUND = 2.1  # inches for headline, class names, colour bar and caption
NARROWEST = 0.9  # a cell may take this part of its room: texts are wider than they are measured
SMALLEST_SIZE = 6.0  # points
GREY = "Grey: right."
CAPTION = f"{GREY} Recall: the share of a class's images that are recognised as such."


def confusion_counts(labels: Any, predicted: Any, classes: int) -> Counts:
    """How many images of each class are taken for each class.

    Args:
        labels, predicted: class indices (n,), whole numbers in 0..classes-1.

    Returns:
        int64 (classes, classes); rows are true classes, columns predicted ones.
    """
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def row_shares(counts: Counts) -> Shares:
    """Each cell's share of its row, in 0..1; 0 in the rows of classes without images."""
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(totals, 1)


def recalls(counts: Counts) -> Shares:
    """The share of each class's images that are recognised; NaN for a class without images."""
    totals = counts.sum(axis=1)
    return np.where(totals > 0, np.diag(counts) / np.maximum(totals, 1), np.nan)


def confusion_matrix(
    model: Any, x: Any, y: Any, class_names: Sequence[str] | None = None, *, dark: bool = False
) -> Picture:
    """Counts of true (rows) against predicted classes (columns), and each class's recall.

    Mistakes are coloured by their share of the row, on a scale of their own; the diagonal is
    grey, so that it does not drown them. Up to 20 classes have their counts written in.

    Args:
        model, x, y, class_names: a classifier, images, their classes and the classes' names, as
            ``convmill.view.predictions.classify`` takes them.
        dark: on a dark ground.

    Raises:
        TypeError, ValueError: as ``classify`` does.
    """
    found, _ = classify(model, x, y, class_names)
    return draw_confusion(found, dark=dark)


def draw_confusion(found: Predictions, *, dark: bool = False) -> Picture:
    """``confusion_matrix`` of what ``classify`` gave."""
    names = fitted(found.class_names, WIDEST_NAME)
    classes = len(names)
    counts = confusion_counts(found.labels, found.predicted, classes)
    images = plural(len(found.labels), "image")
    height = _cell_height(classes) * classes
    with drawing(height + AROUND, dark=dark) as picture:
        axes = picture.subplots()
        _draw_cells(picture, axes, counts)
        _name_classes(axes, names)
        if classes <= MOST_NUMBERED:
            _write_counts(axes, counts, names, picture.theme)
        if classes <= MOST_LABELS:
            _write_recalls(axes, counts)
        headline(
            picture,
            f"Confusion matrix: {percent(found.accuracy, 2)} of {images} right",
            CAPTION if classes <= MOST_LABELS else GREY,
        )
    return picture


def _cell_height(classes: int) -> float:
    """Inches."""
    return min(max(USUAL / classes, LOWEST_ROW), HIGHEST_ROW, TALLEST / classes)


def _draw_cells(picture: Picture, axes: Axes, counts: Counts) -> None:
    """Mistakes in colour, the diagonal in grey, thin lines between the cells."""
    theme, classes = picture.theme, len(counts)
    diagonal = np.eye(classes, dtype=bool)
    shares = np.ma.masked_array(100 * row_shares(counts), diagonal | (counts == 0))
    axes.imshow(
        np.ma.masked_array(diagonal, ~diagonal),
        cmap=ListedColormap([blend(theme.faint, theme.ground, 0.3)]),
        aspect="auto",
    )
    # One hue: its lightness alone carries the scale, from what can just be told from the ground.
    palest = blend(theme.second, theme.ground, PALEST)
    colours = LinearSegmentedColormap.from_list("mistakes", [palest, theme.second])
    image = axes.imshow(shares, cmap=colours, vmin=0, vmax=shares.max() or 1, aspect="auto")
    if classes <= MOST_NUMBERED:
        edges = np.arange(classes + 1) - 0.5
        # the outermost lie on the border of the axes, which would cut them in half
        lines: dict[str, Any] = {"color": theme.faint, "linewidth": THIN, "clip_on": False}
        axes.hlines(edges, -0.5, classes - 0.5, **lines)
        axes.vlines(edges, -0.5, classes - 0.5, **lines)
    if shares.count():
        bar = picture.colorbar(image, ax=axes, location="bottom", aspect=40, shrink=0.6, pad=0.02)
        bar.set_label("mistakes, % of the true class's images", fontsize=SMALL_SIZE)
        bar.outline.set_visible(False)


def blend(front: str, back: str, share: float) -> str:
    """A colour between two, with ``share`` of the first."""
    mixed = share * np.array(to_rgb(front)) + (1 - share) * np.array(to_rgb(back))
    return to_hex(tuple(mixed))


def _cell_width(names: Sequence[str]) -> float:
    """Inches: what names, recalls and sizes leave of the picture's width."""
    taken = (max(map(width_in_points, names)) + BESIDE) / POINTS_PER_INCH
    return (WIDTH - taken) / len(names)


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    """Class names at the left and above; every second one, or fewer, where there are too many."""
    step = -(-len(names) // MOST_LABELS)
    places = range(0, len(names), step)
    labels = [names[place] for place in places]
    size = _row_size(len(names), step)
    widest = max(width_in_points(label, size) for label in labels)
    fits = widest < 0.9 * POINTS_PER_INCH * _cell_width(names)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_yticks(places, labels, fontsize=size)
    axes.set_xticks(places, labels, fontsize=size, rotation=0 if fits else 90)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _row_size(classes: int, rows: int = 1) -> float:
    """Points: the largest letters that fit into so many rows."""
    return min(SMALL_SIZE, 0.8 * POINTS_PER_INCH * rows * _cell_height(classes))


def _write_counts(axes: Axes, counts: Counts, names: Sequence[str], theme: Theme) -> None:
    """Each count that is not 0 in its cell, unless they would be too small to read."""
    longest = f"{counts.max():,}"
    room = NARROWEST * POINTS_PER_INCH * _cell_width(names)
    size = TEXT_SIZE * min(1, room / width_in_points(longest, TEXT_SIZE))
    if size < SMALLEST_SIZE:
        return
    shares = row_shares(counts)
    strongest = np.max(shares, where=~np.eye(len(counts), dtype=bool), initial=0)
    for row, column in np.argwhere(counts):
        strong = row != column and shares[row, column] > 0.6 * strongest
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}",
            ha="center",
            va="center",
            fontsize=size,
            color=LIGHT.ink if strong else theme.ink,  # dark on the strong colour, on any ground
        )


def _write_recalls(axes: Axes, counts: Counts) -> None:
    """A column of recalls at the right; of sizes too, where there is room."""
    found = ["\N{EN DASH}" if np.isnan(share) else percent(share) for share in recalls(counts)]
    _write_column(axes, 48, "recall", found)
    if len(counts) <= MOST_NUMBERED:
        _write_column(axes, 96, "images", [f"{total:,}" for total in counts.sum(axis=1)])


def _write_column(axes: Axes, points: float, name: str, texts: Sequence[str]) -> None:
    """A text for each row, its right end so many points right of the matrix."""
    style: dict[str, Any] = {"xytext": (points, 0), "textcoords": "offset points", "ha": "right"}
    axes.annotate(name, (1, 1.01), xycoords="axes fraction", fontsize=SMALL_SIZE, **style)
    for row, text in enumerate(texts):
        axes.annotate(
            text,
            (1, row),
            xycoords=axes.get_yaxis_transform(),  # x in parts of the axes, y in rows
            va="center",
            fontsize=_row_size(len(texts)),
            **style,
        )
