"""All comparisons of a measure in one sentence."""

from __future__ import annotations

import dataclasses

import pytest

from convmill.study.answers import answer
from convmill.study.statistics import compare
from convmill.study.verdict import enumerated, finding, verdict
from tests.page import studies


def test_who_beats_whom_and_between_whom_nothing_was_found_is_one_sentence():
    said = answer(studies.pooling(), "comparisons")
    assert said.startswith("In test accuracy, max pooling (99.")
    assert " %) beats average pooling (98." in said
    assert " %) by 0.20 points [0.20, 0.20] (n = 5); no difference was found between " in said
    assert "between max pooling and no pooling, same parameters (99." in said
    assert said.endswith(" would have been seen with 80 % probability).")
    assert ". " not in said.replace("e.g. ", "")


@pytest.mark.parametrize(
    ("higher_is_better", "first", "verb"),
    [(True, "high", "beats"), (False, "low", "beats"), (None, "high", "is above")],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_better_or_the_greater_one_comes_first(higher_is_better, first, verb, turned):
    values = {"high": [0.9, 0.91, 0.93], "low": [0.5, 0.52, 0.5]}
    names = ("low", "high") if turned else ("high", "low")
    measure = dataclasses.replace(studies.ACCURACY, higher_is_better=higher_is_better)
    found = finding(compare("accuracy", names, *(values[name] for name in names)), measure)
    assert (found.first, found.verb) == (first, verb)
    assert {found.first, found.second} == set(names)
    assert found.amount.startswith("40.67 points [")
    low, high = (float(end) for end in found.amount.partition("[")[2].rstrip("]").split(", "))
    assert 0 < low < 40.67 < high


def test_parts_are_enumerated():
    assert enumerated(["a"]) == "a"
    assert enumerated(["a", "b"]) == "a and b"
    assert enumerated(["a", "b", "c"]) == "a, b and c"


def test_of_a_share_no_difference_above_the_whole_would_have_been_seen():
    measure = dataclasses.replace(studies.ACCURACY, share=True)
    far = compare("accuracy", ("a", "b"), [0.1, 0.9], [0.9, 0.2])
    assert far.detectable > 1
    said = verdict([far], measure, {"a": "a", "b": "b"}, {"a": "50 %", "b": "55 %"})
    assert "n = 2, where no difference there can be would have been seen" in said
