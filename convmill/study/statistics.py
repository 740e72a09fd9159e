"""Means with intervals, paired differences, Holm's correction, and what n pairs can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import optimize, stats

from convmill.study.result import Comparison, Summary

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE  # of a test
POWER = 0.80
FEWEST_ALIKE = 3  # pairs whose differences are all the same and that still say something
ROUNDING = 8 * np.finfo(np.float64).eps  # of differences, as a share of the values
NODES = 400  # of Gauss and Legendre's quadrature


def summarize(measure: str, values: Sequence[float]) -> Summary:
    """Mean, 95 % t interval and spread of at least one value; all NaN but the extremes where one
    of them is not finite."""
    array = np.asarray(values, np.float64)
    mean, low, high, deviation = _interval(array)
    extremes = float(array.min()), float(array.max())
    return Summary(measure, len(array), mean, low, high, deviation, *extremes)


def compare(
    measure: str, names: tuple[str, str], first: Sequence[float], second: Sequence[float]
) -> Comparison:
    """The paired comparison of two arms, whose values stand in the order of the same seeds; not yet
    corrected for others beside it.

    No test is made, and all but ``n`` and the difference is NaN, of one pair, and of two whose
    differences are the same and not zero. The difference is NaN too where a value is not finite.
    """
    differences = _differences(np.asarray(first, np.float64), np.asarray(second, np.float64))
    mean, low, high, deviation = _interval(differences)
    n, p = len(differences), _p_value(differences)
    if math.isnan(p):
        untold = (math.nan,) * 3
        return Comparison(measure, *names, n, mean, *untold, *untold)
    detectable = deviation * detectable_effect(n, LEVEL)
    effect = _ratio(mean, deviation)
    return Comparison(measure, *names, n, mean, low, high, effect, p, p, detectable)


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """First minus second, (n,); what differs by rounding alone is made the same."""
    if not (np.isfinite(first) & np.isfinite(second)).all():
        return np.full(len(first), np.nan)
    differences = first - second
    if np.ptp(differences) <= ROUNDING * max(np.abs(first).max(), np.abs(second).max()):
        differences[:] = differences[0]
    return differences


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one measure with Holm's correction over all of them; what is detectable
    then is so at its strictest step."""
    p_values = holm([one.p for one in comparisons])
    tests = max(sum(not math.isnan(p) for p in p_values), 1)
    return [
        replace(one, corrected_p=p, detectable=one.detectable * _harder(one.n, tests))
        for one, p in zip(comparisons, p_values, strict=True)
    ]


def _harder(n: int, tests: int) -> float:
    """By how much a difference must be larger to be found among so many tests."""
    if n < 2:
        return math.nan
    return detectable_effect(n, LEVEL / tests) / detectable_effect(n, LEVEL)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979); what is NaN stays so and does not count."""
    tested = [number for number, p in enumerate(p_values) if not math.isnan(p)]
    corrected, largest = list(p_values), 0.0
    for place, number in enumerate(sorted(tested, key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, (len(tested) - place) * p_values[number]))
        corrected[number] = largest
    return corrected


@cache
def detectable_effect(n: int, level: float, power: float = POWER) -> float:
    """The smallest effect size that a paired t-test of ``n`` pairs, two-sided at ``level``, finds
    with probability ``power``."""
    highest = 1.0
    while power_of(n, level, highest) < power:
        highest *= 2
    return float(optimize.brentq(lambda effect: power_of(n, level, effect) - power, 0.0, highest))


def power_of(n: int, level: float, effect: float) -> float:
    """The probability that a paired t-test of ``n`` pairs, two-sided at ``level``, finds a true
    effect of that size.

    Integrated over what the standard deviation may come out as, for SciPy's noncentral t is NaN
    for the large effects that two pairs need.
    """
    limits, weights = _limits(n, level)
    shift = effect * math.sqrt(n)
    found = stats.norm.cdf(shift - limits) + stats.norm.cdf(-shift - limits)
    return float(weights @ found)


@cache
def _limits(n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """What the mean must exceed, in its own standard errors, for the test to find it, where the
    standard deviation comes out at each of many quantiles, (NODES,); and the weights of these."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    degrees = n - 1
    spread = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, degrees) / degrees)
    return stats.t.ppf(1 - level / 2, degrees) * spread, weights / 2


def _interval(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, both ends of its t interval, and the standard deviation of one value."""
    if not np.isfinite(values).all():
        return math.nan, math.nan, math.nan, math.nan
    n, mean = len(values), float(values.mean())
    if n < 2:
        return mean, math.nan, math.nan, math.nan
    deviation = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half, deviation


def _p_value(differences: np.ndarray) -> float:
    """Two-sided, of the paired t-test. Differences that are all the same leave nothing to chance:
    1 where they are all zero, else 0. NaN where no test can be made."""
    if len(differences) < 2 or not np.isfinite(differences).all():
        return math.nan
    if np.ptp(differences) == 0:
        few = len(differences) < FEWEST_ALIKE and differences[0] != 0
        return math.nan if few else float(differences[0] == 0)
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _ratio(mean: float, deviation: float) -> float:
    if deviation == 0:
        return 0.0 if mean == 0 else math.copysign(math.inf, mean)
    return mean / deviation
