"""Trends over a factor, and maps over positions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from convmill.view.positions import Map, Place, positions
from convmill.view.trends import Trend, trends
from tests.view.classifiers import boxes, texts

AT = (100.0, 1000.0, 60000.0)
LINES = (
    Trend("dense", AT, (70.0, 87.0, 97.0), (68.0, 86.0, math.nan), (72.0, 88.0, math.nan)),
    Trend("convolutions", AT[1:], (93.0, 99.0), (92.5, 98.9), (93.5, 99.1)),
)
GIVEN = {"title": "t", "factor": "training images", "label": "accuracy, %"}


@pytest.mark.parametrize("narrow", [False, True])
def test_lines_go_through_their_means_with_bars_for_intervals(narrow):
    picture = trends(LINES, **GIVEN, logarithmic=True, narrow=narrow)
    (axes,) = picture.axes
    dense, convolutions = axes.lines
    assert list(dense.get_ydata()) == [70, 87, 97]
    np.testing.assert_allclose(convolutions.get_xdata(), AT[1:], rtol=0.1)
    bars = [segment for each in axes.collections for segment in each.get_segments()]
    assert [tuple(bar[:, 1]) for bar in bars] == [(68, 72), (86, 88), (92.5, 93.5), (98.9, 99.1)]
    assert {"dense", "convolutions", "100", "1,000", "60,000", "training images"} <= set(
        texts(picture)
    )


LONG = ("a net of many convolutions, " * 6).strip(", ")


@pytest.mark.parametrize("narrow", [False, True])
def test_long_names_are_written_whole_and_within(narrow):
    lines = [replace(line, label=f"{LONG} {place}") for place, line in enumerate(LINES * 2)]
    picture = trends(lines, **GIVEN, narrow=narrow)
    found = {" ".join(text.split()): box for text, box in boxes(picture)}
    for line in lines:
        box = found[line.label]
        assert 0 <= box.x0 < box.x1 <= picture.bbox.x1
        assert picture.axes[0].bbox.y1 <= box.y0 < box.y1 <= picture.bbox.y1
    maps = [Map(f"{LONG} {place}", NUMBERS) for place in range(3)]
    picture = positions(maps, ROWS, COLUMNS, title="t", label="x", narrow=narrow)
    found = {" ".join(text.split()): box for text, box in boxes(picture)}
    assert all(0 <= found[each.label].x0 < found[each.label].x1 <= picture.bbox.x1 for each in maps)


def test_numbers_of_the_axis_do_not_touch():
    at = tuple(float(value) for value in range(1, 200))
    line = Trend("a", at, at, at, at)
    picture = trends([line], **GIVEN, narrow=True)
    boxes = [each.get_window_extent() for each in picture.axes[0].get_xticklabels()]
    assert 3 < len(boxes) < 20
    ends = sorted((box.x0, box.x1) for box in boxes)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ends))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"above 0\. Received: 0"):
        trends(
            [Trend("a", (0.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0))], **GIVEN, logarithmic=True
        )
    with pytest.raises(ValueError, match="at least one finite mean"):
        trends([Trend("a", (1.0,), (math.nan,), (1.0,), (1.0,))], **GIVEN)


ROWS, COLUMNS = Place("down", (0.0, 4.0)), Place("right", (0.0, 4.0, 8.0))
NUMBERS = ((90.0, 80.4, math.nan), (50.0, 20.0, 10.0))


@pytest.mark.parametrize("narrow", [False, True])
def test_maps_share_a_scale_and_say_their_numbers(narrow):
    maps = [Map("dense", NUMBERS), Map("global pooling", ((99.0,) * 3,) * 2)]
    picture = positions(maps, ROWS, COLUMNS, title="t", label="accuracy, %", narrow=narrow)
    first, second, _ = picture.axes
    np.testing.assert_array_equal(first.images[0].get_array().filled(np.nan), NUMBERS)
    assert first.images[0].norm.vmin == second.images[0].norm.vmin == 10
    assert first.images[0].norm.vmax == second.images[0].norm.vmax == 99
    assert [text.get_text() for text in first.texts] == ["90", "80", "50", "20", "10"]
    assert {"dense", "global pooling", "down", "right", "accuracy, %"} <= set(texts(picture))


def test_numbers_that_would_be_alike_are_left_out():
    maps = [Map("told apart", NUMBERS), Map("alike", ((0.1, 0.2, 0.3),) * 2)]
    first, second, _ = positions(maps, ROWS, COLUMNS, title="t", label="x").axes
    assert first.texts
    assert not second.texts


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        positions([Map("a", ((1.0,),))], ROWS, COLUMNS, title="t", label="x")
