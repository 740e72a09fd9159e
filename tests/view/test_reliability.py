"""Calibration: intervals against SciPy's, bins against a loop, the error by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from convmill.view.reliability import calibration, reliability, wilson
from tests.view.classifiers import echo, random_case, texts


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_those_of_scipy(case):
    successes, trials = case
    low, high = wilson(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert float(low) == pytest.approx(expected.low, abs=1e-12)
    assert float(high) == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= successes / trials <= high <= 1


def test_nothing_is_known_without_trials():
    low, high = wilson([0, 5], [0, 10])
    assert (low[0], high[0]) == (0, 1)
    assert (low[1], high[1]) == (pytest.approx(0.23659, abs=1e-5), pytest.approx(0.76341, abs=1e-5))


@pytest.mark.parametrize(("classes", "bins"), [(2, 10), (10, 15), (5, 1)])
def test_bins_hold_what_lies_between_their_ends(classes, bins):
    probabilities, labels = random_case(400, classes)
    probabilities = probabilities.astype(np.float64)
    confidence = probabilities.max(axis=1).clip(0, 1)
    correct = probabilities.argmax(axis=1) == labels
    binned = calibration(confidence, correct, bins)
    for number in range(bins):  # the lower end is the bin's before, zero aside
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        assert binned.counts[number] == inside.sum()
        if inside.any():
            assert binned.accuracy[number] == pytest.approx(correct[inside].mean())
            assert binned.confidence[number] == pytest.approx(confidence[inside].mean())
        else:
            assert np.isnan(binned.accuracy[number])
    assert binned.counts.sum() == 400


def test_bins_and_error_by_hand():
    """Two bins: 0..0.5 holds 0 and 0.5, of which one is right; above it 0.9, right."""
    binned = calibration([0.0, 0.5, 0.9], [True, False, True], bins=2)
    assert binned.counts.tolist() == [2, 1]
    assert binned.confidence.tolist() == pytest.approx([0.25, 0.9])
    assert binned.accuracy.tolist() == pytest.approx([0.5, 1])
    assert binned.expected_error == pytest.approx((2 * 0.25 + 1 * 0.1) / 3)


def test_empty_bins_add_nothing_to_the_error():
    binned = calibration([0.95, 0.95], [True, False], bins=15)
    assert binned.expected_error == pytest.approx(0.45)


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_drawn(dark):
    probabilities, labels = random_case(300, 4)
    picture = reliability(echo(4), probabilities, labels, bins=10, dark=dark)
    confidence = probabilities.astype(np.float64).max(axis=1)
    binned = calibration(confidence, probabilities.argmax(axis=1) == labels, 10)
    used = binned.counts > 0
    upper, lower = picture.axes
    points = upper.containers[0].lines[0]
    np.testing.assert_allclose(points.get_xdata(), binned.confidence[used])
    np.testing.assert_allclose(points.get_ydata(), binned.accuracy[used])
    segments = upper.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(
        [ends[:, 1] for ends in segments], np.stack([binned.low[used], binned.high[used]], axis=1)
    )
    assert [bar.get_height() for bar in lower.patches] == binned.counts.tolist()
    found = [text.replace("\N{NARROW NO-BREAK SPACE}", " ") for text in texts(picture)]
    error = f"{100 * binned.expected_error:.2f} %"
    assert f"Reliability: expected calibration error {error}" in found


@pytest.mark.parametrize(("sure", "said"), [(0.9, "overconfident"), (0.6, "underconfident")])
def test_the_verdict(sure, said):
    """Three of four are right: less often than 0.9 says, more often than 0.6."""
    x = np.tile(np.array([[sure, 1 - sure]], np.float32), (4, 1))
    caption = next(text for text in texts(reliability(echo(2), x, [0, 0, 0, 1])) if "bins" in text)
    assert f"{said} by 15.00 points" in caption


def test_as_often_right_as_sure():
    x = np.tile(np.array([[0.75, 0.25]], np.float32), (4, 1))
    found = texts(reliability(echo(2), x, [0, 0, 0, 1]))
    assert any("neither over- nor underconfident" in text for text in found)


def test_one_image():
    found = texts(reliability(echo(2), np.eye(2, dtype=np.float32)[:1], [0]))
    assert any(text.startswith("1 image, ") for text in found)


@pytest.mark.parametrize("bins", [0, -3, 101, 2.5, True])
def test_the_number_of_bins_is_checked(bins):
    x, y = random_case(10, 3)
    with pytest.raises(ValueError, match=f"from 1 to 100. Received: bins={bins}"):
        reliability(echo(3), x, y, bins=bins)
