"""Learning curves: how loss and metrics go on, on training and on validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from convmill.inspection.numbers import plural
from convmill.view.histories import (
    Curve,
    Designs,
    Run,
    chosen,
    common_epochs,
    higher_is_better,
    mean_curve,
    read_designs,
)
from convmill.view.style import (
    MARGIN,
    NARROW,
    POINTS_PER_INCH,
    SMALL_SIZE,
    WIDTH,
    Picture,
    Theme,
    drawing,
    headline,
    headline_lines,
    logarithmic,
    width_in_points,
)
from convmill.view.text import figure, legend_height, whole

PANEL_HEIGHT = 2.7
AROUND = 0.9  # inches for headline and caption
COLUMNS = 2
MOST_PANELS = 24
# Up to so many epochs, each is marked with a dot.
DOTTED = 20
# Of a best value, and of a gap; of a share near 1 as many as tell it from 1.
DIGITS, GAP_DIGITS, MOST_DIGITS = 3, 2, 7
# Several designs.
TRAINING = (0, (3, 1.5))  # dashes, in widths of the line
MARKS = "s^xDv+"
MOST_FACTS = 4  # designs whose best epochs are written above each panel
FACT = 0.17  # inches, a line of them
FACTS_WITHIN = 2  # lines of them for which a panel has room
AXIS = 0.7  # inches beside a panel's facts
TITLE = 0.36  # inches from the upper edge to the legend
LINE = 0.2  # of a title that is longer than one
LEGEND_COLUMNS = 4  # at most
BESIDE_LABEL = 42.0  # points of a legend's column for the line before a text and the space behind
# A figure that spans more than this factor is drawn on a logarithmic scale.
WIDE_RANGE = 1000
Look = dict[str, Any]  # of a line, for Matplotlib's plot

RINGED, GAP = "Ringed: the best epoch on validation data.", " Gap: validation less training."
EXPLAINED = (
    "A training figure is the mean over an epoch, while the weights change; validation comes at "
    "its end."
)


def learning_curves(
    history: Any,
    *,
    names: Sequence[str] | None = None,
    metric: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> Picture:
    """Loss and each metric over the epochs, on training and on validation data.

    The gap between the two is shaded, and its size in the last epoch that has both is stated. The
    best epoch on validation data is ringed: the lowest value, or for accuracy and its like the
    highest. Several runs of one design are thin lines around their mean, which covers the epochs
    that all have. Several designs have a colour each, and no gap is shaded.
    Of more than 24 figures the first 24 are drawn; the caption counts the others.

    Args:
        history: what ``fit`` returned, its ``.history``, or a list of several of them.
        names: the design of each run; those of one name are runs of one design. None takes all
            for runs of one, but for what ``fit`` returned for models that differ, which go by the
            models' names.
        metric: draw this figure alone ("loss", "accuracy", ...).
        dark: on a dark ground.
        narrow: for the width of a phone.

    Raises:
        ValueError: ``history`` is no history, or holds no ``metric``; other than one name a run.
    """
    designs = read_designs(history, names)
    runs = [run for of_design in designs.values() for run in of_design]
    every = chosen(runs, metric)
    figures = every[:MOST_PANELS]
    columns = 1 if narrow else min(COLUMNS, len(figures))
    width = NARROW if narrow else WIDTH
    rows = math.ceil(len(figures) / columns)
    title = headline_lines(_title(runs, len(designs)), width)
    above = LINE * (title.count("\n") + 1)
    labels = _labels(designs, runs)
    per_row = _legend_columns(labels, width)
    column = (width - 2 * MARGIN) / per_row - BESIDE_LABEL / POINTS_PER_INCH
    entries = whole(labels, column)
    legend = legend_height(entries, per_row) if len(designs) > 1 else 0
    with drawing(rows * PANEL_HEIGHT + AROUND + legend, width=width, dark=dark) as picture:
        panels = picture.subplots(rows, columns, squeeze=False).ravel()
        for axes, figure_name in zip(panels, figures, strict=False):
            draw = _draw_panel if len(designs) == 1 else _draw_designs
            facts = draw(axes, figure_name, designs, picture.theme)
            axes.set_title("\n".join(whole(facts, width / columns - AXIS)), fontsize=SMALL_SIZE)
            _dress(axes, figure_name, runs)
        lines = max(axes.get_title(loc="left").count("\n") + 1 for axes in panels)
        further = FACT * max(lines - FACTS_WITHIN, 0)
        picture.set_figheight(picture.get_figheight() + rows * further)
        for axes in panels[len(figures) :]:
            axes.remove()
        if len(designs) == 1:
            panels[0].legend()
        else:
            _draw_legend(picture, entries, len(designs), legend, above, per_row)
        headline(
            picture,
            title,
            _caption(runs, len(designs), len(every) - len(figures)),
        )
    return picture


def _title(runs: Sequence[Run], designs: int) -> str:
    epochs = max(run.last_epoch for run in runs)
    several = f"{len(runs)} runs of up to " if len(runs) > 1 else ""
    if 1 < designs < len(runs):
        several = f"{designs} designs, {several}"
    return f"Learning curves: {several}{plural(epochs, 'epoch')}"


def _caption(runs: Sequence[Run], designs: int, further: int) -> str:
    lines: list[str] = []
    if any(run.validation for run in runs):
        lines += [RINGED + GAP * (designs == 1), EXPLAINED]
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


def _dress(axes: Axes, name: str, runs: Sequence[Run]) -> None:
    """Axes and their names."""
    curves = _curves(runs, name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_scale(axes, name, curves))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.grid(axis="y", alpha=0.3)
    epochs = np.concatenate([curve.epochs for curve in curves])
    margin = max(0.5, 0.03 * float(np.ptp(epochs)))
    axes.set_xlim(epochs.min() - margin, epochs.max() + margin)


def _curves(runs: Sequence[Run], name: str) -> list[Curve]:
    """Of a figure: on training data, then on validation data."""
    parts = [run.training for run in runs] + [run.validation for run in runs]
    return [part[name] for part in parts if name in part]


# One design -------------------------------------------------------------------------------------


def _draw_panel(axes: Axes, name: str, designs: Designs, theme: Theme) -> list[str]:
    """Draws a figure; what to say of it."""
    (runs,) = designs.values()
    training = [run.training[name] for run in runs if name in run.training]
    validation = [run.validation[name] for run in runs if name in run.validation]
    _draw_lines(axes, training, "training", {"color": theme.first})
    _draw_lines(axes, validation, "validation", {"color": theme.second})
    facts = _draw_divergence(axes, training + validation, len(runs), theme)
    facts += [f"best: {best}" for best in _draw_best(axes, mean_curve(validation), name, theme.ink)]
    return facts + _draw_gap(axes, mean_curve(training), mean_curve(validation), theme)


def _draw_lines(axes: Axes, curves: Sequence[Curve], label: str, look: Look) -> None:
    """One curve, or thin ones and their mean."""
    if not curves:
        return
    mean = mean_curve(curves)
    if len(curves) > 1:
        for curve in curves:
            thin = look | {"linewidth": 0.7, "alpha": 0.45, "marker": ""}
            axes.plot(curve.epochs, curve.values, **thin)
        label = f"{label}, mean of {len(curves)}"
    marker = "." if mean.epochs.size <= DOTTED else ""
    own: Look = {"marker": marker, "label": label}
    axes.plot(mean.epochs, mean.values, **(own | look))


def _draw_gap(axes: Axes, training: Curve, validation: Curve, theme: Theme) -> list[str]:
    epochs, trained, validated = common_epochs(training, validation)
    finite = np.flatnonzero(np.isfinite(trained) & np.isfinite(validated))
    if not finite.size:
        return []
    # open where a value is not finite
    axes.fill_between(epochs, trained, validated, color=theme.second, alpha=0.15, linewidth=0)
    last = finite[-1]
    gap = validated[last] - trained[last]
    return [f"gap in epoch {epochs[last]:.0f}: {figure(gap, GAP_DIGITS, '+')}"]


def _draw_best(axes: Axes, validation: Curve, name: str, colour: str) -> list[str]:
    best = validation.best(higher_is_better(name))
    if best is None:
        return []
    epoch, value = best
    axes.plot(
        [epoch], [value], "o", markersize=9, fillstyle="none", color=colour, markeredgewidth=1.3
    )
    return [f"{_text(value)} in epoch {epoch}"]


def _text(value: float) -> str:
    """Three digits; more of a share that would be rounded to 1."""
    digits = DIGITS
    while 0 < value < 1 and float(f"{value:.{digits}g}") == 1 and digits < MOST_DIGITS:
        digits += 1
    return figure(value, digits)


def _draw_divergence(axes: Axes, curves: Sequence[Curve], runs: int, theme: Theme) -> list[str]:
    """Marks the first epoch with a value that is not finite."""
    epochs = [curve.diverged_in for curve in curves]
    found = [epoch for epoch in epochs if epoch is not None]
    if not found:
        return []
    axes.axvline(min(found), color=theme.faint, linestyle=":")
    which = "" if runs == 1 else "a run "
    return [f"{which}diverged in epoch {min(found)}"]


# Several designs --------------------------------------------------------------------------------


def _draw_designs(axes: Axes, name: str, designs: Designs, theme: Theme) -> list[str]:
    """A colour for each design; training is dashed, validation is not. What to say of them."""
    facts = []
    for index, (design, runs) in enumerate(designs.items()):
        look = _look(index, theme)
        training = [run.training[name] for run in runs if name in run.training]
        validation = [run.validation[name] for run in runs if name in run.validation]
        _draw_lines(axes, training, "", look | {"linestyle": TRAINING})
        _draw_lines(axes, validation, "", look)
        said = _draw_divergence(axes, training + validation, len(runs), theme)
        best = _draw_best(axes, mean_curve(validation), name, look["color"])
        said += [f"best {one}" for one in best]
        facts += [f"{design}: {', '.join(said)}"] if said else []
    return facts if len(designs) <= MOST_FACTS else []


def _look(index: int, theme: Theme) -> Look:
    """The line of a design: a colour, and where there are more designs than colours a mark too."""
    again, colour = divmod(index, len(theme.lines))
    mark = {"marker": MARKS[(again - 1) % len(MARKS)], "markersize": 4} if again else {}
    return {"color": theme.lines[colour]} | mark


def _labels(designs: Designs, runs: Sequence[Run]) -> list[str]:
    """Entries of the legend: designs, then kinds of images."""
    kinds = ["training", *["validation"] * any(run.validation for run in runs)]
    return [_label(design, of_design) for design, of_design in designs.items()] + kinds


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """How many entries of the legend fit side by side into ``width`` inches."""
    widest = max(map(width_in_points, labels))
    fit = (width - 2 * MARGIN) * POINTS_PER_INCH / (widest + BESIDE_LABEL)
    return min(max(int(fit), 1), LEGEND_COLUMNS)


def _label(design: str, runs: Sequence[Run]) -> str:
    return f"{design}, mean of {len(runs)}" if len(runs) > 1 else design


def _draw_legend(
    picture: Picture,
    labels: Sequence[str],
    designs: int,
    height: float,
    above: float,
    columns: int,
) -> None:
    """Designs by their colours, training and validation by their lines: ``height`` inches of the
    picture, below the ``above`` inches of the title."""
    theme = picture.theme
    looks = [_look(index, theme) for index in range(designs)]
    looks += [{"color": theme.faint, "linestyle": TRAINING}, {"color": theme.faint}]
    entries = [
        Line2D([], [], label=label, **look) for label, look in zip(labels, looks, strict=False)
    ]
    width, whole = picture.get_size_inches()
    engine = picture.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - height / whole))
    corner = MARGIN / width, 1 - (TITLE + above - LINE) / whole
    picture.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=columns,
        borderpad=0,
        borderaxespad=0,
    )


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
