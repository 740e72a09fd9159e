"""Names and figures as they are written in pictures."""

from __future__ import annotations

import pytest

from convmill.inspection import numbers
from convmill.view.text import figure, percent, shown


def test_names_as_they_are_shown():
    assert shown(["a" * 30, "a\nb\x1b", "5$ or 6$"], 10) == ("aaaaaaaaa…", "a?b?", "5$ or 6$")


def test_long_names_that_differ_at_their_ends_are_cut_in_the_middle():
    names = ["a long class name 1", "a long class name 12", "another long class name", "short"]
    assert shown(names) == ("a long cl…name 1", "a long c…name 12", "another long cl…", "short")


def test_long_names_that_differ_in_the_middle_end_with_their_index():
    names = ["short", *(f"a long name with {kind} in the middle" for kind in ("this", "that"))]
    assert shown(names, 12) == ("short", "a long nam…1", "a long nam…2")


def test_short_names_stay_as_they_are():
    assert shown(["same", "same"]) == ("same", "same")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.5, "50.0 %"), (0.99951, ">99.9 %"), (1e-9, "<0.1 %")],
)
def test_percentages_round_to_neither_none_nor_all(share, text):
    assert numbers.percent(share, 1) == text
    assert percent(share) == text.replace(" ", "\N{NARROW NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.9994, "99.9 %"), (0.99951, ">99.9 %"), (1e-5, "0.001 %")],
)
def test_three_digits_round_to_neither_none_nor_all(share, text):
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("value", "digits", "sign", "said"),
    [
        (2.0, 2, "", "2.0"),
        (0.037371, 3, "", "0.0374"),
        (-0.0041883, 2, "+", "−0.0042"),
        (0.016671, 2, "+", "+0.017"),
        (1234.4, 2, "", "1234"),
        (123456.0, 3, "", "123456"),
        (2.5e7, 2, "", "2.5e+07"),
        (0.0, 3, "", "0.00"),
        (-56.0, 2, "", "−56"),
    ],
)
def test_figures(value, digits, sign, said):
    assert figure(value, digits, sign) == said
