"""The reliability diagram: whether a classifier is as often right as it is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.limits import BINS, MOST_BINS
from convmill.view.predictions import Predictions, classify
from convmill.view.style import SMALL_SIZE, Picture, Theme, drawing, headline, logarithmic
from convmill.view.text import percent
from convmill.whole import check_whole

Numbers = NDArray[np.float64]

HEIGHT = 5.4  # inches
PER_CENT = "\N{NARROW NO-BREAK SPACE}%"
MOST_LABELLED = 20  # bins with their counts written on them
NEGLIGIBLE = 0.005  # percentage points, which would be shown as 0.00
# Of the normal distribution, what 95 % lies within.
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images in bins of equal width by confidence, the probability of the predicted class.

    Attributes:
        edges: (bins + 1,), from 0 to 1; a bin holds what lies above its lower edge and not above
            its upper one; the first also holds 0.
        counts: int64 (bins,), images.
        confidence, accuracy: (bins,), mean confidence and share of right ones; NaN where empty.
        low, high: (bins,), the 95 % interval of the accuracy; NaN where empty.
    """

    edges: Numbers
    counts: NDArray[np.int64]
    confidence: Numbers
    accuracy: Numbers
    low: Numbers
    high: Numbers

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean distance between accuracy and confidence of
        the bins, weighted by their counts, in 0..1 (Naeini, Cooper and Hauskrecht, 2015; Guo et
        al., 2017).
        """
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.counts * gaps) / self.counts.sum())


def wilson(successes: Any, trials: Any) -> tuple[Numbers, Numbers]:
    """The ends of the 95 % score interval for a probability (Wilson, 1927).

    Args:
        successes, trials: counts, numbers or arrays of one shape; no trials give 0..1.
    """
    n = np.asarray(trials, np.float64)
    some = np.maximum(n, 1)
    share = np.asarray(successes, np.float64) / some
    square = NORMAL_95**2
    centre = (share + square / (2 * some)) / (1 + square / some)
    spread = np.sqrt(share * (1 - share) / some + square / (4 * some**2))
    half = NORMAL_95 * spread / (1 + square / some)
    # Rounding must not take the ends out of 0..1, where they touch it.
    low = np.where((n == 0) | (share == 0), 0.0, np.clip(centre - half, 0, 1))
    high = np.where((n == 0) | (share == 1), 1.0, np.clip(centre + half, 0, 1))
    return low, high


def calibration(confidence: Any, correct: Any, bins: int = BINS) -> Calibration:
    """Sorts images into bins by confidence.

    Args:
        confidence: probabilities of the predicted classes, (n,), in 0..1.
        correct: whether the prediction is right, bool (n,).
        bins: how many, of equal width.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    edges = np.linspace(0, 1, bins + 1)
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(places, minlength=bins)
    right = np.bincount(places, weights=correct, minlength=bins)
    sums = np.bincount(places, weights=confidence, minlength=bins)
    low, high = wilson(right, counts)
    total = np.where(counts > 0, counts, np.nan)
    empty = counts == 0
    return Calibration(
        edges,
        counts,
        sums / total,
        right / total,
        np.where(empty, np.nan, low),
        np.where(empty, np.nan, high),
    )


def reliability(model: Any, x: Any, y: Any, *, bins: int = BINS, dark: bool = False) -> Picture:
    """Accuracy against confidence, in bins, with 95 % intervals, and how many images each holds.

    On the diagonal the model is as often right as it is sure. Confidence is the probability of
    the predicted class; the expected calibration error is stated.

    Args:
        model, x, y: a classifier, images and their classes, as
            ``convmill.view.predictions.classify`` takes them.
        bins: bins of equal width from 0 to 1; up to 100.
        dark: on a dark ground.

    Raises:
        TypeError, ValueError: as ``classify`` does; ``bins`` is no such number.
    """
    bins = check_whole("bins", bins, 1, MOST_BINS)
    found, _ = classify(model, x, y)
    binned = calibration(found.confidence, found.correct, bins)
    with drawing(HEIGHT, dark=dark) as picture:
        upper, lower = picture.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _draw_diagram(upper, binned, picture.theme)
        _draw_counts(lower, binned, picture.theme)
        lowest = binned.edges[np.flatnonzero(binned.counts)[0]]
        lower.set_xlim(min(lowest, 0.5), 1.01)
        error = percent(binned.expected_error, 2)
        headline(picture, f"Reliability: expected calibration error {error}", _caption(found, bins))
    return picture


def _caption(found: Predictions, bins: int) -> str:
    sure = float(found.confidence.mean())
    points = 100 * (sure - found.accuracy)
    verdict = f"{'over' if points > 0 else 'under'}confident by {abs(points):.2f} points"
    if abs(points) < NEGLIGIBLE:
        verdict = "neither over- nor underconfident"
    images = plural(len(found.labels), "image")
    return (
        f"{images}, {percent(found.accuracy, 2)} right at a mean confidence of "
        f"{percent(sure, 2)}: {verdict}.\n"
        "Above the dashed line the model is underconfident, below it overconfident.\n"
        f"{bins} bins of equal width, with 95 % intervals (Wilson)."
    )


def _draw_diagram(axes: Axes, binned: Calibration, theme: Theme) -> None:
    axes.plot([0, 1], [0, 1], color=theme.faint, linestyle="--", linewidth=1)
    used = binned.counts > 0
    middle, height = binned.confidence[used], binned.accuracy[used]
    below, above = height - binned.low[used], binned.high[used] - height
    axes.errorbar(
        middle,
        height,
        [below, above],
        fmt="o",
        color=theme.first,
        markersize=5,
        capsize=3,
        clip_on=False,  # whole dots at the borders
        zorder=3,
    )
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=PER_CENT))
    axes.grid(alpha=0.3)


def _draw_counts(axes: Axes, binned: Calibration, theme: Theme) -> None:
    """A histogram; logarithmic, for most images of a good model lie in the last bin."""
    bars = axes.bar(
        binned.edges[:-1],
        binned.counts,
        width=np.diff(binned.edges),
        align="edge",
        color=theme.first,
        edgecolor=theme.ground,
        linewidth=0.6,
    )
    logarithmic(axes)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0.5, 10 * binned.counts.max())
    if len(binned.counts) <= MOST_LABELLED:
        texts = [f"{count:,}" if count else "" for count in binned.counts]
        axes.bar_label(bars, texts, fontsize=SMALL_SIZE)
    axes.set_ylabel("images")
    axes.set_xlabel("confidence: the probability of the predicted class")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=PER_CENT))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
