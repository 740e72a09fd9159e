"""Learning curves: how loss and metrics go on, on training and on validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from convmill.inspection.numbers import plural
from convmill.view.histories import (
    Curve,
    Run,
    chosen,
    common_epochs,
    higher_is_better,
    mean_curve,
    read_runs,
)
from convmill.view.style import SMALL_SIZE, Picture, Theme, drawing, headline, logarithmic

PANEL_HEIGHT = 2.7
AROUND = 0.9  # inches for headline and caption
COLUMNS = 2
MOST_PANELS = 24
# Up to so many epochs, each is marked with a dot.
DOTTED = 20
# A figure that spans more than this factor is drawn on a logarithmic scale.
WIDE_RANGE = 1000
EXPLAINED = (
    "Ringed: the best epoch on validation data. Gap: validation less training.",
    "A training figure is the mean over an epoch, while the weights change; validation comes at "
    "its end.",
)


def learning_curves(history: Any, *, metric: str | None = None, dark: bool = False) -> Picture:
    """Loss and each metric over the epochs, on training and on validation data.

    The gap between the two is shaded, and its size in the last epoch that has both is stated. The
    best epoch on validation data is ringed: the lowest value, or for accuracy and its like the
    highest. Several runs are thin lines around their mean, which covers the epochs that all have.
    Of more than 24 figures the first 24 are drawn; the caption counts the others.

    Args:
        history: what ``fit`` returned, its ``.history``, or a list of several of them.
        metric: draw this figure alone ("loss", "accuracy", ...).
        dark: on a dark ground.

    Raises:
        ValueError: ``history`` is no history, or holds no ``metric``.
    """
    runs = read_runs(history)
    every = chosen(runs, metric)
    names = every[:MOST_PANELS]
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    with drawing(rows * PANEL_HEIGHT + AROUND, dark=dark) as picture:
        panels = picture.subplots(rows, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _draw_panel(axes, name, runs, picture.theme)
        for axes in panels[len(names) :]:
            axes.remove()
        panels[0].legend()
        headline(picture, _title(runs), _caption(runs, len(every) - len(names)))
    return picture


def _title(runs: Sequence[Run]) -> str:
    epochs = max(run.last_epoch for run in runs)
    several = f"{len(runs)} runs of up to " if len(runs) > 1 else ""
    return f"Learning curves: {several}{plural(epochs, 'epoch')}"


def _caption(runs: Sequence[Run], further: int) -> str:
    lines: list[str] = []
    if any(run.validation for run in runs):
        lines += EXPLAINED
    else:
        lines.append("No validation data: give fit validation_data to see the gap.")
    if any(run.spread_evenly for run in runs):
        lines.append("Validation was not run in every epoch; taken as evenly spaced.")
    left_out = dict.fromkeys(name for run in runs for name in run.left_out)
    if left_out:
        lines.append(f"Left out, not one number an epoch: {', '.join(left_out)}.")
    if further:
        are = "figures are" if further > 1 else "figure is"
        lines.append(f"{further} more {are} not drawn: name one to see it.")
    return "\n".join(lines)


def _draw_panel(axes: Axes, name: str, runs: Sequence[Run], theme: Theme) -> None:
    training = [run.training[name] for run in runs if name in run.training]
    validation = [run.validation[name] for run in runs if name in run.validation]
    _draw_lines(axes, training, "training", theme.first)
    _draw_lines(axes, validation, "validation", theme.second)
    facts = _draw_divergence(axes, training + validation, len(runs), theme)
    facts += _draw_best(axes, mean_curve(validation), name, theme)
    facts += _draw_gap(axes, mean_curve(training), mean_curve(validation), theme)
    axes.set_title("\n".join(facts), fontsize=SMALL_SIZE)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_scale(axes, name, training + validation))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.grid(axis="y", alpha=0.3)
    epochs = np.concatenate([curve.epochs for curve in training + validation])
    margin = max(0.5, 0.03 * float(np.ptp(epochs)))
    axes.set_xlim(epochs.min() - margin, epochs.max() + margin)


def _draw_lines(axes: Axes, curves: Sequence[Curve], label: str, colour: str) -> None:
    """One curve, or thin ones and their mean."""
    if not curves:
        return
    mean = mean_curve(curves)
    if len(curves) > 1:
        for curve in curves:
            axes.plot(curve.epochs, curve.values, color=colour, linewidth=0.7, alpha=0.45)
        label = f"{label}, mean of {len(curves)}"
    marker = "." if mean.epochs.size <= DOTTED else ""
    axes.plot(mean.epochs, mean.values, color=colour, marker=marker, label=label)


def _draw_gap(axes: Axes, training: Curve, validation: Curve, theme: Theme) -> list[str]:
    epochs, trained, validated = common_epochs(training, validation)
    finite = np.flatnonzero(np.isfinite(trained) & np.isfinite(validated))
    if not finite.size:
        return []
    # open where a value is not finite
    axes.fill_between(epochs, trained, validated, color=theme.second, alpha=0.15, linewidth=0)
    last = finite[-1]
    gap = validated[last] - trained[last]
    return [f"gap in epoch {epochs[last]:.0f}: {_text(gap, '+')}"]


def _draw_best(axes: Axes, validation: Curve, name: str, theme: Theme) -> list[str]:
    best = validation.best(higher_is_better(name))
    if best is None:
        return []
    epoch, value = best
    axes.plot(
        [epoch], [value], "o", markersize=9, fillstyle="none", color=theme.ink, markeredgewidth=1.3
    )
    return [f"best: {_text(value)} in epoch {epoch}"]


def _text(value: float, sign: str = "") -> str:
    """Four digits, and a minus sign as long as a plus."""
    return f"{value:{sign}#.4g}".removesuffix(".").replace("-", "\N{MINUS SIGN}")


def _draw_divergence(axes: Axes, curves: Sequence[Curve], runs: int, theme: Theme) -> list[str]:
    """Marks the first epoch with a value that is not finite."""
    epochs = [curve.diverged_in for curve in curves]
    found = [epoch for epoch in epochs if epoch is not None]
    if not found:
        return []
    axes.axvline(min(found), color=theme.faint, linestyle=":")
    which = "" if runs == 1 else "a run "
    return [f"{which}diverged in epoch {min(found)}"]


def _scale(axes: Axes, name: str, curves: Sequence[Curve]) -> str:
    """Chooses a logarithmic scale for a wide range; the label of the axis."""
    values = np.concatenate([curve.values for curve in curves])
    finite = values[np.isfinite(values)]
    if not finite.size:
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center")
        return name
    if finite.min() > 0 and finite.max() > WIDE_RANGE * finite.min():
        logarithmic(axes)
        return f"{name} (logarithmic)"
    return name
