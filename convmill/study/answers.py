"""The answer of a study in sentences, by the kind of answer that it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from convmill.study.pairs import paired
from convmill.study.result import Arm, Comparison, Measure, StudyResult, Summary
from convmill.study.statistics import LEVEL, holm
from convmill.study.words import difference, joined, mean_and_interval, sentence, shown


def answer(result: StudyResult, kind: str) -> str:
    """The answer; while runs are missing, that there is none yet."""
    if not result.complete:
        return (
            f"Not answered yet: {len(result.runs)} of {result.planned} runs are finished. "
            "A look before the last one is no result."
        )
    if not result.runs:
        return "Not answered: no run could be finished."
    return ANSWERS[kind](result)


def _comparisons(result: StudyResult) -> str:
    """A sentence for each pair, of the first measure."""
    told = [one.sentence for one in _of_first(result)]
    return joined(told) if told else _means(result)


def _means(result: StudyResult) -> str:
    """The mean of each arm, of the first measure."""
    measure = result.measures[0]
    return joined([_mean(arm, measure) for arm in result.arms if arm.summary(measure.name)])


def _mean(arm: Arm, measure: Measure) -> str:
    summary = _of(arm, measure)
    return f"{arm.label}: {measure.label} {mean_and_interval(measure, summary)}, n = {summary.n}"


def _along(result: StudyResult) -> str:
    """For each pair, from where to where on what varies one is better: a sentence a stretch."""
    measure, vary = result.measures[0], result.vary
    found = _of_first(result)
    if vary is None or not found:
        return _rise(result)
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for one in found:
        bases = result.arm(one.first).base, result.arm(one.second).base
        pairs.setdefault(bases, []).append(one)
    told = []
    for some in pairs.values():
        told += [_stretch(result, measure, stretch) for stretch in _stretches(some)]
    return joined(told)


def _rise(result: StudyResult) -> str:
    """How the first measure goes along what varies: at both ends, and from where on it is as good
    as at its best place, as far as these runs can tell."""
    measure, vary = result.measures[0], result.vary
    if vary is None:
        return _means(result)
    told = []
    for base in dict.fromkeys(arm.base for arm in result.arms):
        arms = [arm for arm in result.arms if arm.base == base and arm.summary(measure.name)]
        if not arms:
            continue
        ends = [arms[0], arms[-1]] if len(arms) > 1 else arms
        said = [f"{mean_and_interval(measure, _of(arm, measure))} at {arm.at:,}" for arm in ends]
        told.append(f"{measure.label}, {vary.label}: {' and '.join(said)}")
        told += _reaches_best(result, arms)
    return joined(told)


def _reaches_best(result: StudyResult, arms: Sequence[Arm]) -> list[str]:
    """From where on no difference from the best place is found, by pairs of equal seed; nothing
    where not every other place can be tested against it."""
    measure = result.measures[0]
    sign = -1 if measure.higher_is_better is False else 1
    if not all(math.isfinite(_of(arm, measure).mean) for arm in arms):
        return []
    best = max(arms, key=lambda arm: sign * _of(arm, measure).mean)
    others = [arm for arm in arms if arm is not best]
    tests = [paired(measure.name, (arm.name, best.name), result.runs) for arm in others]
    p_values = holm([math.nan if one is None else one.p for one in tests])
    if not others or any(math.isnan(p) for p in p_values):
        return []
    differs = {arm.name for arm, p in zip(others, p_values, strict=True) if p < LEVEL}
    first = len(arms)
    while first > 0 and arms[first - 1].name not in differs:
        first -= 1
    if first == len(arms) or arms[first] is best:
        return [f"the best is {mean_and_interval(measure, _of(best, measure))} at {best.at:,}"]
    return [f"from {arms[first].at:,} on no difference from the best place, {best.at:,}, was found"]


def _spread(result: StudyResult) -> str:
    """How far single runs lie apart in each arm, where the marks lie, and the comparisons."""
    measure = result.measures[0]
    told = []
    for arm in result.arms:
        if (summary := arm.summary(measure.name)) is None:
            continue
        ends = f"{shown(measure, summary.least)} to {shown(measure, summary.greatest)}"
        mean = f"mean {shown(measure, summary.mean)}"
        if not math.isnan(summary.deviation):
            mean += f", standard deviation {difference(measure, summary.deviation)}"
        told.append(f"{arm.label}: {measure.label} {ends}, {mean}, n = {summary.n}")
        values = [run.values[measure.name] for run in result.runs if run.arm == arm.name]
        for name, mark in result.marks.items():
            below = sum(value < mark for value in values)
            told[-1] += f"; {below} of {len(values)} lie below {name} ({shown(measure, mark)})"
    return joined([*told, *(one.sentence for one in _of_first(result))])


def _of(arm: Arm, measure: Measure) -> Summary:
    summary = arm.summary(measure.name)
    assert summary is not None
    return summary


def _stretches(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Neighbours that come out alike: the first better, the second better, no difference, or no
    test."""
    found: list[list[Comparison]] = []
    for one in comparisons:
        if found and _sign(found[-1][-1]) == _sign(one):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _sign(comparison: Comparison) -> int | None:
    """Which is better, 1 or -1; 0 where no difference was found, None where none was looked for."""
    if math.isnan(comparison.corrected_p):
        return None
    if not comparison.corrected_p < LEVEL:
        return 0
    return 1 if comparison.difference > 0 else -1


def _stretch(result: StudyResult, measure: Measure, stretch: Sequence[Comparison]) -> str:
    """One sentence on the whole stretch: its ends."""
    assert result.vary is not None
    bases = {arm.name: arm.label.rpartition(" at ")[0] for arm in result.arms}
    ends = [stretch[0]] if len(stretch) == 1 else [stretch[0], stretch[-1]]
    places = [f"{result.arm(one.first).at:,}" for one in ends]
    where = f"{result.vary.label}: {' to '.join(places)}"
    said = [sentence(one, measure, bases) for one in ends]
    return f"{where}: {'; ... '.join(said)}"


def _of_first(result: StudyResult) -> list[Comparison]:
    return [one for one in result.comparisons if one.measure == result.measures[0].name]


ANSWERS: dict[str, Callable[[StudyResult], str]] = {
    "comparisons": _comparisons,
    "along": _along,
    "rise": _rise,
    "spread": _spread,
    "means": _means,
}
