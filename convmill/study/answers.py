"""The answer of a study in sentences, by the kind of answer that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convmill.study.result import Arm, Comparison, Measure, StudyResult
from convmill.study.statistics import LEVEL
from convmill.study.words import joined, mean_and_interval, sentence


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
    summary = arm.summary(measure.name)
    assert summary is not None
    return f"{arm.label}: {measure.label} {mean_and_interval(measure, summary)}, n = {summary.n}"


def _along(result: StudyResult) -> str:
    """For each pair, from where to where on what varies one is better: a sentence a stretch."""
    measure, vary = result.measures[0], result.vary
    found = _of_first(result)
    if vary is None or not found:
        return _means(result)
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for one in found:
        bases = result.arm(one.first).base, result.arm(one.second).base
        pairs.setdefault(bases, []).append(one)
    told = []
    for some in pairs.values():
        told += [_stretch(result, measure, stretch) for stretch in _stretches(some)]
    return joined(told)


def _stretches(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Neighbours that come out alike: the first better, the second better, or no difference."""
    found: list[list[Comparison]] = []
    for one in comparisons:
        if found and _sign(found[-1][-1]) == _sign(one):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _sign(comparison: Comparison) -> int:
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
    "means": _means,
}
