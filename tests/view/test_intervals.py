"""Estimates with intervals: what is drawn is where its numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from convmill.view.intervals import Estimate, estimate_said, intervals
from tests.view.classifiers import boxes, texts

ESTIMATES = (
    Estimate("first arm", 99.0, 98.5, 99.5, (98.0, 99.0, 99.0, 100.0)),
    Estimate("second arm", -0.5, -0.9, -0.1, (-0.5,)),
    Estimate("third", 0.2, math.nan, math.nan, (0.2, math.nan)),
)


def points(axes, size: float) -> list[tuple[float, float]]:
    """(x, y) of each dot of one size."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markersize() == size
    ]


@pytest.mark.parametrize("narrow", [False, True])
def test_means_intervals_and_single_values_stand_where_they_are(narrow):
    picture = intervals(ESTIMATES, title="Arms", label="accuracy, %", narrow=narrow)
    (axes,) = picture.axes
    assert points(axes, 6.5) == [(99.0, 0), (-0.5, 1), (0.2, 2)]
    ends = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2.4]
    assert ends == [(98.5, 99.5), (-0.9, -0.1)]
    dots = points(axes, 4.2)
    assert sorted(x for x, _ in dots) == [-0.5, 0.2, 98.0, 99.0, 99.0, 100.0]
    assert len(set(dots)) == 6  # equal values lie on each other, not in each other's place
    assert all(0 < y - np.floor(y) < 0.6 for _, y in dots)
    said = texts(picture)
    assert {"Arms", "accuracy, %", "first arm", "second arm", "third"} <= set(said)
    assert ("99.00 [98.50, 99.50]" in said) is not narrow
    assert picture.get_size_inches()[0] == (3.6 if narrow else 7)


def test_a_difference_that_is_not_told_from_zero_has_a_fainter_colour():
    rows = (Estimate("told", 0.2, 0.1, 0.3), Estimate("not", 0.1, -0.1, 0.3, told=False))
    picture = intervals(rows, title="t", label="points", zero=True)
    (axes,) = picture.axes
    colours = [line.get_color() for line in axes.lines if line.get_markersize() == 6.5]
    theme = picture.theme
    assert colours == [theme.first, theme.faint]
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
    assert "+0.20 [0.10, 0.30]" in texts(picture)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("label", ["a net, " * 30, "x" * 300])
def test_the_longest_name_is_written_whole_and_within(label, narrow):
    rows = [Estimate(label, 0.2, 0.1, 0.3, (0.2,)), Estimate("b", 0.3, 0.2, 0.4, (0.3,))]
    picture = intervals(rows, title="t", label="points", narrow=narrow)
    written = {"".join(text.split()): box for text, box in boxes(picture)}
    box = written["".join(label.split())]
    assert 0 <= box.x0 < box.x1 <= picture.bbox.x1
    assert 0 <= box.y0 < box.y1 <= picture.bbox.y1
    assert not box.overlaps(written["b"])


def test_marks_are_within_and_named():
    picture = intervals(ESTIMATES[:1], title="t", label="x", marks={"the text: 101": 101.0})
    (axes,) = picture.axes
    assert axes.get_xlim()[1] >= 101
    assert "the text: 101" in texts(picture)


def test_what_is_not_there_is_said():
    assert estimate_said(Estimate("a", math.nan, math.nan, math.nan), 2) == "not measured"
    assert estimate_said(Estimate("a", -1.234, math.nan, math.nan), 1) == "−1.2"
    with pytest.raises(ValueError, match="at least one finite number"):
        intervals([Estimate("a", math.nan, math.nan, math.nan)], title="t", label="x")
