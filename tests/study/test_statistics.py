"""Intervals, paired tests, Holm's correction, power: against SciPy's values and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from convmill.study.measures import MEASURES
from convmill.study.statistics import (
    compare,
    corrected,
    detectable_effect,
    holm,
    power_of,
    summarize,
)
from convmill.study.words import joined, mean_and_interval, sentence


def test_a_summary_is_scipys_t_interval():
    values = [0.991, 0.989, 0.992, 0.990, 0.9885]
    found = summarize("accuracy", values)
    wanted = stats.ttest_1samp(values, 0.99).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.deviation == pytest.approx(stats.tstd(values))
    assert (found.n, found.least, found.greatest) == (5, 0.9885, 0.992)


def test_one_value_has_a_mean_and_no_interval():
    found = summarize("accuracy", [0.5])
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.deviation)


def test_a_comparison_is_scipys_paired_test():
    first, second = [3.1, 2.9, 3.3, 3.6], [2.8, 2.9, 2.9, 3.1]
    found = compare("loss", ("a", "b"), first, second)
    wanted = stats.ttest_rel(first, second)
    interval = wanted.confidence_interval(0.95)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    differences = np.subtract(first, second)
    assert found.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))


@pytest.mark.parametrize(
    ("second", "p", "effect"), [([1.0, 2.0, 3.0], 1.0, 0.0), ([0.0, 1.0, 2.0], 0.0, math.inf)]
)
def test_differences_without_chance_are_certain(second, p, effect):
    found = compare("loss", ("a", "b"), [1.0, 2.0, 3.0], second)
    assert (found.p, found.effect_size) == (p, effect)


def test_the_interval_holds_the_true_difference_in_95_of_100_samples():
    random, held, rounds, true = np.random.default_rng(0), 0, 1000, 0.3
    for _ in range(rounds):
        seeds = random.normal(size=6)  # what pairs have in common
        first, second = seeds + random.normal(true, 0.5, 6), seeds + random.normal(0, 0.5, 6)
        found = compare("x", ("a", "b"), first, second)
        held += found.low <= true <= found.high
    # three standard deviations of a binomial number
    assert abs(held / rounds - 0.95) < 3 * math.sqrt(0.95 * 0.05 / rounds)


def test_the_detectable_difference_is_seen_with_80_percent_probability():
    random, rounds, n = np.random.default_rng(1), 2000, 8
    effect = detectable_effect(n, 0.05)
    samples = random.normal(effect, 1.0, (rounds, n))
    seen = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05)
    assert abs(seen - 0.80) < 3 * math.sqrt(0.8 * 0.2 / rounds)


@pytest.mark.parametrize("n", [5, 10, 30])
def test_power_is_that_of_scipys_noncentral_t(n):
    critical, shift = stats.t.ppf(0.975, n - 1), 0.7 * math.sqrt(n)
    wanted = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert power_of(n, 0.05, 0.7) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_not_compared(wild):
    (found,) = corrected([compare("loss", ("a", "b"), [0.1, 0.2, wild], [0.1, 0.3, wild])])
    assert math.isnan(found.difference)
    assert math.isnan(found.corrected_p)
    said = sentence(found, MEASURES["loss"].measure, {"a": "A", "b": "B"})
    assert said == "A and B are not compared in test loss: not all runs are finite"
    summary = summarize("loss", [0.1, wild, 0.2])
    assert math.isnan(summary.mean)
    assert mean_and_interval(MEASURES["loss"].measure, summary) == "not finite"


def test_two_equal_differences_are_too_few_to_tell():
    pairs = [0.91, 0.92], [0.905, 0.915]  # whose differences are not the same to the last bit
    (found,) = corrected([compare("accuracy", ("a", "b"), *pairs)])
    said = sentence(found, MEASURES["accuracy"].measure, {"a": "A", "b": "B"})
    wanted = "A minus B: +0.50 points in test accuracy in every pair; too few pairs to tell"
    assert said == f"{wanted} (n = 2 pairs)"
    three = [[*values, values[0]] for values in pairs]
    assert compare("accuracy", ("a", "b"), *three).p == 0


def test_pairs_that_could_not_see_the_largest_difference_say_so():
    measure, labels = MEASURES["accuracy"].measure, {"a": "A", "b": "B"}
    (few,) = corrected([compare("accuracy", ("a", "b"), [0.2, 0.3], [0.1, 0.5])])
    assert few.detectable > 1
    assert "so few pairs could have seen none, however large" in sentence(few, measure, labels)
    gap = sentence(few, MEASURES["gap"].measure, labels)  # which may be below 0
    assert "points would have been seen" in gap
    (more,) = corrected([compare("accuracy", ("a", "b"), [0.2, 0.3] * 4, [0.21, 0.29] * 4)])
    assert "points would have been seen with 80 % probability" in sentence(more, measure, labels)


def test_sentences_begin_with_capitals_but_names_are_kept():
    said = joined(["a beats a net", "a net beats a", "ab: 3"], ["a net", "ab"])
    assert said == "A beats a net. a net beats a. ab: 3."


def test_holm_is_the_step_down_procedure():
    # Holm (1979): 0.01 x 4; then 0.02 x 3, 0.03 x 2; the largest stays at what was before it
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_is_detectable_is_so_at_the_strictest_step_of_the_correction():
    pairs = [compare("x", ("a", b), [1.0, 2.5, 3.0], [0.0, 1.0, 2.5]) for b in "bcd"]
    for one in corrected(pairs):
        deviation = np.std([1.0, 1.5, 0.5], ddof=1)
        assert one.detectable == pytest.approx(deviation * detectable_effect(3, 0.05 / 3))
        assert one.corrected_p == pytest.approx(min(1.0, 3 * one.p))
    assert math.isnan(corrected([compare("x", ("a", "b"), [1.0], [2.0])])[0].detectable)


def test_holm_leaves_out_what_was_not_tested():
    found = holm([math.nan, 0.01, 0.03])
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([0.02, 0.03])
