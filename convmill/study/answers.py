"""The answer of a study in sentences, by the kind of answer that it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from convmill.study.pairs import paired
from convmill.study.result import Arm, Comparison, Measure, StudyResult, Summary
from convmill.study.statistics import LEVEL, holm
from convmill.study.verdict import finding, verdict, was_tested
from convmill.study.words import (
    base_label,
    difference,
    joined,
    mean_and_interval,
    own_names,
    place,
    sentence,
    shown,
)


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
    """One sentence of all pairs, in the first measure; then those that nothing could be told of."""
    found = _of_first(result)
    return _joined(result, [*_verdict(result, found), *_untold(found)]) if found else _means(result)


def _verdict(result: StudyResult, found: Sequence[Comparison]) -> list[str]:
    """A sentence of those that were tested, if there are such."""
    measure, tested = result.measures[0], [one for one in found if was_tested(one)]
    labels = {arm.name: arm.label for arm in result.arms}
    means = {
        arm.name: shown(measure, summary.mean)
        for arm in result.arms
        if (summary := arm.summary(measure.name)) is not None
    }
    return [verdict(tested, measure, labels, means)] if tested else []


def _untold(found: Sequence[Comparison]) -> list[str]:
    """A sentence for each pair of which there was nothing to test."""
    return [one.sentence for one in found if not was_tested(one)]


def _means(result: StudyResult) -> str:
    """The mean of each arm, of the first measure."""
    measure = result.measures[0]
    told = [_mean(arm, measure) for arm in result.arms if arm.summary(measure.name)]
    return _joined(result, told)


def _mean(arm: Arm, measure: Measure) -> str:
    summary = _of(arm, measure)
    return f"{arm.label}: {measure.label} {mean_and_interval(measure, summary)}, n = {summary.n}"


def _along(result: StudyResult) -> str:
    """For each pair, where on what varies one is as good as the other at its best place, and from
    where to where it is better: a sentence a stretch."""
    measure, vary = result.measures[0], result.vary
    found = _of_first(result)
    if vary is None or not found:
        return _rise(result)
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for one in found:
        bases = result.arm(one.first).base, result.arm(one.second).base
        pairs.setdefault(bases, []).append(one)
    told = []
    for bases, some in pairs.items():
        told += [*_overtakes(result, *bases), *_overtakes(result, *reversed(bases))]
        told += [_stretch(result, measure, stretch) for stretch in _stretches(some)]
    return _joined(result, told)


def _overtakes(result: StudyResult, better: str, worse: str) -> list[str]:
    """The first place from which on the arm ``better`` beats the arm ``worse`` at its best place,
    by pairs of equal seed; nothing where that is the last place, or there is none."""
    measure, vary = result.measures[0], result.vary
    ours, theirs = (
        [arm for arm in result.arms if arm.base == base and arm.summary(measure.name)]
        for base in (better, worse)
    )
    if vary is None or not measure.higher_is_better or not ours or not theirs:
        return []
    best = max(theirs, key=lambda arm: _of(arm, measure).mean)
    tests = [paired(measure.name, (arm.name, best.name), result.runs) for arm in ours]
    p_values = holm([math.nan if one is None else one.p for one in tests])
    beats = [
        test is not None and p < LEVEL and test.difference > 0
        for test, p in zip(tests, p_values, strict=True)
    ]
    start = next((at for at in range(len(ours)) if all(beats[at:])), len(ours))
    if start >= len(ours) - 1:
        return []
    first, second = (
        f"{arm.label} ({shown(measure, _of(arm, measure).mean)})" for arm in (ours[start], best)
    )
    return [f"{vary.label}: {first} beats {second} in {measure.label}"]


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
        said = [_at_place(arm, measure) for arm in ends]
        told.append(f"{measure.label}, {vary.label}: {' and '.join(said)}")
        told += _reaches_best(result, arms)
    return _joined(result, told)


def _at_place(arm: Arm, measure: Measure) -> str:
    """ "97.72 % [97.53, 97.91] at 3,000"."""
    return f"{mean_and_interval(measure, _of(arm, measure))} at {place(arm.at)}"


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
        return [f"the best is {_at_place(best, measure)}"]
    start, end = place(arms[first].at), place(best.at)
    return [f"from {start} on no difference from the best place, {end}, was found"]


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
    found = _of_first(result)
    return _joined(result, [*told, *_verdict(result, found), *_untold(found)])


def _joined(result: StudyResult, sentences: Sequence[str]) -> str:
    return joined(sentences, own_names(result.arms))


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
    ends = [stretch[0]] if len(stretch) == 1 else [stretch[0], stretch[-1]]
    bases = {arm.name: base_label(arm) for arm in result.arms}
    if not all(was_tested(one) for one in ends):
        return f"{result.vary.label}: {'; '.join(sentence(one, measure, bases) for one in ends)}"
    findings = [finding(one, measure) for one in ends]
    places = [place(result.arm(one.first).at) for one in ends]
    first, second, verb = findings[0].first, findings[0].second, findings[0].verb
    amounts = [
        f"{'by ' if verb else ''}{one.amount} at {at}"
        for one, at in zip(findings, places, strict=True)
    ]
    where = f"({result.vary.label}: {' to '.join(places)})"
    amount = f"{' and '.join(amounts)}, n = {stretch[0].n}"
    if verb:
        return f"in {measure.label}, {bases[first]} {verb} {bases[second]} {where} {amount}"
    return (
        f"no difference in {measure.label} was found between {bases[first]} and {bases[second]} "
        f"{where}: {amount}"
    )


def _of_first(result: StudyResult) -> list[Comparison]:
    return [one for one in result.comparisons if one.measure == result.measures[0].name]


ANSWERS: dict[str, Callable[[StudyResult], str]] = {
    "comparisons": _comparisons,
    "along": _along,
    "rise": _rise,
    "spread": _spread,
    "means": _means,
}
