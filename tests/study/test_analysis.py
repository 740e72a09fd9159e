"""From runs to sentences: what is said, and what is not, of runs that show little."""

from __future__ import annotations

import math

import pytest

from convmill.study.analysis import analyze
from convmill.study.plan import PlannedArm
from convmill.study.result import Run
from convmill.study.spec import read_spec
from convmill.study.store import Kept
from convmill.study.tables import plain

VARY = {"key": "data.train", "values": [20, 200, 1000]}
ARMS = {"a": {"model": "notebook"}, "b": {"model": "dense"}}


def result_of(values, **table):
    """The result of a study whose arms have these values by their names, seeds 1, 2, ..."""
    spec = read_spec({"arms": ARMS, **table}, "mine")
    planned, runs = [], {}
    for arm in spec.arms:
        seeds = tuple(range(1, len(values[arm.name]) + 1))
        digests = tuple(f"{arm.name} {seed}" for seed in seeds)
        planned.append(
            PlannedArm(arm.name, arm.label, arm.base, arm.at, seeds=seeds, digests=digests)
        )
        for seed, digest, value in zip(seeds, digests, values[arm.name], strict=True):
            runs[digest] = Run(arm.name, seed, {spec.measures[0]: value})
    return analyze(spec, planned, Kept(runs, {}, ()), "")


def rise(*values):
    places = {f"a @ {at}": each for at, each in zip(VARY["values"], values, strict=True)}
    arms = {"a": ARMS["a"]}
    return result_of(places, arms=arms, vary=VARY, answer="rise").answer


@pytest.mark.parametrize("last", [[0.9], [0.9, 0.91], [0.9, math.nan, 0.8]])
def test_where_nothing_was_tested_nothing_is_said_of_the_best_place(last):
    found = rise([0.5, 0.51][: len(last)], [0.7, 0.71][: len(last)], last)
    assert "at 20" in found
    assert "best" not in found


def test_from_where_on_the_best_place_is_reached():
    found = rise([0.5, 0.51, 0.5, 0.52], [0.9, 0.92, 0.89, 0.93], [0.91, 0.91, 0.9, 0.93])
    assert "From 200 on no difference from the best place, 1,000, was found" in found


def along(ours, theirs):
    values = {
        f"{arm} @ {at}": each
        for arm, some in (("a", ours), ("b", theirs))
        for at, each in zip(VARY["values"], some, strict=True)
    }
    return result_of(values, vary=VARY).answer


def around(mean, *more):
    return [mean + 0.001 * seed for seed in (0, 1, 2, *more)]


def test_where_an_arm_overtakes_the_others_best_is_told_first():
    better = [around(0.5), around(0.93), around(0.97)]
    found = along(better, [[one - 0.05 for one in each] for each in better])
    first, second = found.split(". ", 1)
    assert first == "Train: a at 200 (93.10 %) beats b at 1,000 (92.10 %) in test accuracy"
    assert second.startswith("In test accuracy, a beats b (train: 20 to 1,000) by 5.00 points")
    assert second.endswith("at 1,000, n = 3.")


@pytest.mark.parametrize("far", [0.2, -0.2])
def test_no_arm_overtakes_the_others_best_before_the_end(far):
    ours = [around(0.5), around(0.6), around(0.9)]
    assert "beats b at" not in along(ours, [[one - far for one in reversed(each)] for each in ours])


def test_runs_that_are_not_finite_are_told_and_not_compared():
    result = result_of({"a": [0.1, math.nan, 0.2], "b": [0.3, 0.2, 0.1]}, measures=["loss"])
    assert result.answer == "a and b are not compared in test loss: not all runs are finite."
    assert "a: the test loss of 1 of 3 runs is not finite" in result.notes


def test_intervals_beyond_what_can_be_are_told():
    wide = result_of({"a": [0.2, 0.9], "b": [0.4, 0.5]})
    assert any("reach below 0 or above 100 %" in note for note in wide.notes)
    assert "\N{MINUS SIGN}" in plain(wide)
    assert " -" not in plain(wide)
    narrow = result_of({"a": [0.50, 0.51], "b": [0.51, 0.50]})
    assert narrow.notes == ()


@pytest.mark.parametrize("answer", ["comparisons", "means", "spread", "along"])
def test_no_answer_speaks_of_nan(answer):
    for values in ([0.5], [0.5, 0.6], [0.5, math.nan], [math.inf, math.inf]):
        other = [value - 0.1 for value in values]
        result = result_of({"a": values, "b": other}, answer=answer)
        assert "nan" not in result.answer.lower()
        assert "no difference" not in result.answer
