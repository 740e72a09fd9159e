"""The pictures of a study's page, each told in words as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from convmill.page.document import Block
from convmill.page.drawings import figure
from convmill.page.study_labels import axis_label, base_label, capital, told
from convmill.study.result import Arm, Comparison, Measure, Run, StudyResult, Vary
from convmill.study.statistics import LEVEL
from convmill.study.words import mean_and_interval, shown
from convmill.view.histories import EPOCH
from convmill.view.intervals import Estimate, intervals
from convmill.view.learning_curves import learning_curves
from convmill.view.trends import Trend, trends

MOST_ROWS = 24  # of a picture; tables have the others
MOST_CURVES = 7
LINE = "Line: the 95 % interval of the mean."


def arms(result: StudyResult, measure: Measure) -> Iterator[Block]:
    """A row for each arm: its seeds, their mean, its interval."""
    found = [_estimate(result, arm, measure) for arm in result.arms]
    rows = [row for row in found if row.finite][:MOST_ROWS]
    if not rows:
        return
    first = measure.name == result.measures[0].name
    marks = {name: value * measure.scale for name, value in result.marks.items()} if first else {}
    yield figure(
        partial(
            intervals,
            rows,
            title=capital(measure.label),
            label=axis_label(measure),
            caption=f"Dots: single runs. {LINE}",
            decimals=measure.decimals,
            marks=marks,
        ),
        told(f"{capital(measure.label)} of each arm", _means(result, measure)),
    )


def _estimate(result: StudyResult, arm: Arm, measure: Measure) -> Estimate:
    summary = arm.summary(measure.name)
    numbers = (math.nan,) * 3 if summary is None else (summary.mean, summary.low, summary.high)
    mean, low, high = (number * measure.scale for number in numbers)
    values = values_by_seed(result, arm.name, measure).values()
    return Estimate(arm.label, mean, low, high, tuple(value * measure.scale for value in values))


def values_by_seed(result: StudyResult, arm: str, measure: Measure) -> dict[int, float]:
    """What was measured, by seed."""
    runs = (run for run in result.runs if run.arm == arm and measure.name in run.values)
    return {run.seed: run.values[measure.name] for run in runs}


def _means(result: StudyResult, measure: Measure) -> list[str]:
    """ "max pooling: 99.12 % [99.02, 99.22]" """
    told = []
    for arm in result.arms:
        summary = arm.summary(measure.name)
        if summary is not None:
            told.append(f"{arm.label}: {mean_and_interval(measure, summary)}")
    return told


def over_factor(result: StudyResult, measure: Measure) -> Iterator[Block]:
    """A line for each base arm along what varies."""
    vary = result.vary
    bases: dict[str, list[Arm]] = {}
    for arm in result.arms:
        if arm.at is not None and arm.summary(measure.name) is not None:
            bases.setdefault(arm.base, []).append(arm)
    if vary is None or not bases:
        return
    lines = [_trend(some, measure) for some in bases.values()]
    yield figure(
        partial(
            trends,
            lines,
            title=f"{capital(measure.label)} over {vary.label}",
            factor=vary.label,
            label=axis_label(measure),
            caption="Bars: 95 % intervals of the means.",
            logarithmic=vary.logarithmic,
        ),
        told(f"{capital(measure.label)} over {vary.label}", _ends(lines, measure)),
    )


def _trend(some: Sequence[Arm], measure: Measure) -> Trend:
    placed = sorted(((arm.at, arm) for arm in some if arm.at is not None), key=lambda one: one[0])
    summaries = [arm.summary(measure.name) for _, arm in placed]
    mean, low, high = (
        tuple(measure.scale * getattr(summary, name) for summary in summaries)
        for name in ("mean", "low", "high")
    )
    return Trend(base_label(some[0]), tuple(at for at, _ in placed), mean, low, high)


def _ends(lines: Sequence[Trend], measure: Measure) -> list[str]:
    """From where to where each line goes."""
    told = []
    for line in lines:
        first, last = (
            f"{shown(measure, line.mean[place] / measure.scale)} at {line.at[place]:,g}"
            for place in (0, -1)
        )
        told.append(f"{line.label}: from {first} to {last}")
    return told


def differences(result: StudyResult, measure: Measure) -> Iterator[Block]:
    """A row for each comparison: its pairs, their mean, its interval, beside zero."""
    compared = [one for one in result.comparisons if one.measure == measure.name]
    if result.vary is not None and all(_at(result, one) is not None for one in compared):
        yield from _differences_over_factor(result, result.vary, compared, measure)
        return
    compared = compared[:MOST_ROWS]
    rows = [_difference(result, one, measure) for one in compared]
    if not any(row.finite for row in rows):
        return
    yield figure(
        partial(
            intervals,
            rows,
            title="Paired differences",
            label=axis_label(measure, difference=True),
            caption=f"Dots: pairs of equal seed. {LINE} Grey: no difference was found.",
            decimals=measure.decimals,
            zero=True,
        ),
        told("Paired differences beside zero", [one.sentence for one in compared]),
    )


def _differences_over_factor(
    result: StudyResult, vary: Vary, compared: Sequence[Comparison], measure: Measure
) -> Iterator[Block]:
    """A line for each pair of nets along what varies."""
    pairs: dict[str, list[tuple[float, Comparison]]] = {}
    for one in compared:
        at = _at(result, one)
        if at is not None:
            labels = (base_label(result.arm(arm)) for arm in (one.first, one.second))
            pairs.setdefault(" − ".join(labels), []).append((at, one))
    lines = [_difference_trend(label, some, measure) for label, some in pairs.items()]
    if not lines:
        return
    which = f": {lines[0].label}" if len(lines) == 1 else ""
    yield figure(
        partial(
            trends,
            lines,
            title=f"Paired differences{which}",
            factor=vary.label,
            label=axis_label(measure, difference=True),
            caption="Bars: 95 % intervals of the means, each for itself; the table corrects for "
            "all of them.",
            logarithmic=vary.logarithmic,
            zero=True,
        ),
        told(f"Paired differences over {vary.label}", [one.sentence for one in compared]),
    )


def _at(result: StudyResult, one: Comparison) -> float | None:
    """Where on the factor both arms are; None where they differ in it."""
    first, second = (result.arm(arm).at for arm in (one.first, one.second))
    return first if first == second else None


def _difference_trend(
    label: str, some: Sequence[tuple[float, Comparison]], measure: Measure
) -> Trend:
    placed = sorted(some, key=lambda one: one[0])
    mean, low, high = (
        tuple(measure.scale * getattr(one, name) for _, one in placed)
        for name in ("difference", "low", "high")
    )
    return Trend(label, tuple(at for at, _ in placed), mean, low, high)


def _difference(result: StudyResult, one: Comparison, measure: Measure) -> Estimate:
    first, second = (values_by_seed(result, arm, measure) for arm in (one.first, one.second))
    pairs = [first[seed] - second[seed] for seed in first if seed in second]
    mean, low, high = (measure.scale * each for each in (one.difference, one.low, one.high))
    return Estimate(
        f"{result.arm(one.first).label} − {result.arm(one.second).label}",
        mean,
        low,
        high,
        tuple(measure.scale * pair for pair in pairs),
        told=one.corrected_p < LEVEL,
    )


def learning(result: StudyResult) -> Iterator[Block]:
    """Curves of each arm over the epochs; where something varies, at its greatest value."""
    last = max((arm.at for arm in result.arms if arm.at is not None), default=None)
    drawn = [arm for arm in result.arms if arm.at == last][:MOST_CURVES]
    labels = {arm.name: base_label(arm) for arm in drawn}
    runs = [run for run in result.runs if run.arm in labels and run.curves]
    if not runs:
        return
    histories = [_history(run) for run in runs]
    names = [labels[run.arm] for run in runs]
    if last is not None and result.vary is not None:
        yield f"{capital(result.vary.label)}: {last:,g}."
    yield figure(
        partial(
            learning_curves,
            histories,
            names=names,
        ),
        "Learning curves: loss and metrics of each arm by epoch; the tables hold where they end.",
    )


def _history(run: Run) -> dict[str, list[float]]:
    """Curves as Keras' callbacks keep them, which count epochs from 0."""
    history = {name: list(values) for name, values in run.curves.items()}
    if EPOCH in history:
        history[EPOCH] = [epoch - 1 for epoch in history[EPOCH]]
    return history
