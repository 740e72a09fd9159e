"""All comparisons of a measure as one sentence: who beats whom, and between whom no difference was
found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from convmill.study.result import Comparison, Measure
from convmill.study.statistics import LEVEL
from convmill.study.words import (
    brackets,
    can_see,
    difference,
    second_is_ahead,
    signed,
    unsigned,
)


@dataclass(frozen=True)
class Finding:
    """One comparison the right way round: ``first`` is the better one, or the greater one where
    neither is better; ``verb`` is "" where no difference was found. ``amount`` says how much."""

    first: str
    second: str
    verb: str
    amount: str


def was_tested(comparison: Comparison) -> bool:
    """Whether there were enough pairs, all of them finite, to tell anything."""
    return math.isfinite(comparison.difference) and math.isfinite(comparison.corrected_p)


def finding(comparison: Comparison, measure: Measure) -> Finding:
    """What a comparison that ``was_tested`` has shown, by the names of arms."""
    first, second = comparison.first, comparison.second
    if not comparison.corrected_p < LEVEL:
        interval = brackets(measure, comparison.low, comparison.high)
        return Finding(first, second, "", signed(measure, comparison.difference) + interval)
    if second_is_ahead(comparison, measure):
        first, second = second, first
    verb = "is above" if measure.higher_is_better is None else "beats"
    return Finding(first, second, verb, unsigned(comparison, measure))


def verdict(
    comparisons: Sequence[Comparison],
    measure: Measure,
    labels: Mapping[str, str],
    means: Mapping[str, str],
) -> str:
    """ "in test accuracy, max pooling (99.20 %) beats average pooling (99.08 %) by 0.12 points
    [0.02, 0.21] (n = 10) and ...; no difference was found between ...". The ``means`` of arms stand
    where they are named first. All comparisons must have been tested."""
    told = list[str]()
    named = set[str]()

    def name(arm: str) -> str:
        again = arm in named
        named.add(arm)
        return labels[arm] if again else f"{labels[arm]} ({means[arm]})"

    def key(pair: tuple[Comparison, Finding]) -> tuple[str, str]:
        return pair[1].verb, pair[1].first if pair[1].verb else ""

    pairs = [(one, finding(one, measure)) for one in comparisons]
    for (verb, first), some in groupby(pairs, key):
        if not verb:
            told.append(_nothing_found(list(some), measure, name))
            continue
        begin = f"{name(first)} {verb} "
        rest = [f"{name(one.second)} by {one.amount} (n = {each.n})" for each, one in some]
        told.append(begin + enumerated(rest))
    return f"in {measure.label}, {'; '.join(told)}"


def _nothing_found(
    pairs: Sequence[tuple[Comparison, Finding]], measure: Measure, name: Callable[[str], str]
) -> str:
    said = [
        f"between {name(one.first)} and {name(one.second)} ({one.amount}, n = {each.n}, where "
        f"{_seen(each, measure)} would have been seen with 80 % probability)"
        for each, one in pairs
    ]
    return "no difference was found " + enumerated(said)


def _seen(comparison: Comparison, measure: Measure) -> str:
    """The smallest difference; none where it is larger than any can be."""
    possible = can_see(comparison, measure)
    return difference(measure, comparison.detectable) if possible else "no difference there can be"


def enumerated(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
