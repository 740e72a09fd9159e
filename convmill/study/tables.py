"""A study's result as a document: for terminals, Markdown and notebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from convmill.inspection import numbers, terminal
from convmill.inspection.document import Column, Document, Table
from convmill.inspection.numbers import MINUS, decimal
from convmill.study.result import Arm, Comparison, Measure, StudyResult
from convmill.study.words import (
    base_label,
    brackets,
    can_see,
    difference,
    mean_and_interval,
    signed,
)

NONE = ""


def document(result: StudyResult) -> Document:
    """Table of arms, table of comparisons, the answer, notes."""
    measured = dict.fromkeys(one.measure for one in result.comparisons)
    tables = (arms_table(result), *(_of_measure(result, name) for name in measured))
    title = f"{result.title}: {result.question}"
    quick = ["Quick form: fewer images, epochs or seeds than the full one"] if result.quick else []
    matched = (f"{who}: {how}" for who, how in matches(result))
    return Document(title, tables, (result.answer, *matched, *result.notes, *quick), ())


def _of_measure(result: StudyResult, name: str) -> Table:
    """The comparisons in one measure, whose name stands over the differences: a narrow terminal
    leaves out a column of names."""
    some = tuple(one for one in result.comparisons if one.measure == name)
    table = comparisons_table(replace(result, comparisons=some))
    label = next(measure.label for measure in result.measures if measure.name == name)
    first, _, second, *others = table.columns
    titled = replace(second, title=f"difference in\n{label}")
    return Table((first, titled, *others), tuple((row[0], *row[2:]) for row in table.rows))


def arms_table(result: StudyResult) -> Table:
    """One row an arm: its size, and the mean of each measure with its interval."""
    columns = [
        Column("arm", 0, right=False),
        *(Column(measure.label, 1 + place) for place, measure in enumerate(result.measures)),
        Column("runs", 6),
        Column("parameters", 4),
        Column("multiply-\nadds", 5, note="multiply-adds: of one image, forward"),
    ]
    return Table(tuple(columns), tuple(_arm_row(arm, result) for arm in result.arms))


def _arm_row(arm: Arm, result: StudyResult) -> tuple[str, ...]:
    runs = max((summary.n for summary in arm.summaries), default=0)
    return (
        arm.label,
        *(_mean(arm, measure) for measure in result.measures),
        str(runs),
        NONE if arm.parameters is None else f"{arm.parameters:,}",
        NONE if arm.multiply_adds is None else numbers.count(arm.multiply_adds),
    )


def matches(result: StudyResult) -> list[tuple[str, str]]:
    """Which arms were made as large as another, and how: those of one net that were matched alike
    together, by the places where they are unless these are all."""
    groups: dict[tuple[str, str], list[Arm]] = {}
    for arm in result.arms:
        if arm.match:
            groups.setdefault((arm.base, arm.match), []).append(arm)
    return [(_together(some, result), how) for (_, how), some in groups.items()]


def _together(some: Sequence[Arm], result: StudyResult) -> str:
    label = base_label(some[0])
    if len(some) == sum(arm.base == some[0].base for arm in result.arms):
        return label
    return f"{label} at {', '.join(f'{arm.at:,g}' for arm in some if arm.at is not None)}"


def _mean(arm: Arm, measure: Measure) -> str:
    summary = arm.summary(measure.name)
    return NONE if summary is None else mean_and_interval(measure, summary)


def comparisons_table(result: StudyResult) -> Table:
    """One row a pair and measure."""
    columns = (
        Column(f"first {MINUS} second", 0, right=False),
        Column("in", 2, right=False),
        Column("difference", 1, note="difference: mean and 95 % interval over pairs"),
        Column("effect", 5, note="effect: mean of differences over their standard deviation"),
        Column("p (Holm)", 3, note="p (Holm): of the paired t-test, corrected for all pairs"),
        Column("would be\nseen", 4, note="would be seen: with 80 % probability at this n"),
        Column("pairs", 6),
    )
    measures = {measure.name: measure for measure in result.measures}
    rows = tuple(_comparison_row(one, measures[one.measure], result) for one in result.comparisons)
    return Table(columns, rows)


def _comparison_row(one: Comparison, measure: Measure, result: StudyResult) -> tuple[str, ...]:
    return (
        f"{result.arm(one.first).label} {MINUS} {result.arm(one.second).label}",
        measure.label,
        f"{signed(measure, one.difference)}{brackets(measure, one.low, one.high)}",
        _number(one.effect_size),
        NONE if math.isnan(one.corrected_p) else _p(one.corrected_p),
        _seen(one, measure),
        str(one.n),
    )


def _seen(one: Comparison, measure: Measure) -> str:
    if math.isnan(one.detectable):
        return NONE
    return difference(measure, one.detectable) if can_see(one, measure) else "too few pairs"


def _number(value: float) -> str:
    return NONE if math.isnan(value) else decimal(value, 1, "+")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def plain(result: StudyResult) -> str:
    """The result as text without colours."""
    return terminal.plain(document(result))
