"""`digits`: drawn as MNIST is, divided the same way each time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convmill import datasets
from convmill.data.dataset import DataError, Dataset, every_fifth_for_test
from convmill.data.digits import centred, draw, load_digits, raw_digits


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


def mass_centres(images: np.ndarray) -> np.ndarray:
    """(n, 2): row and column of each picture's centre of mass."""
    places = np.arange(images.shape[1])
    mass = images.sum((1, 2), dtype=np.float64)
    rows = images.sum(2) @ places / mass
    columns = images.sum(1) @ places / mass
    return np.stack([rows, columns], axis=1)


def test_same_every_time(digits: Dataset) -> None:
    again = load_digits()
    np.testing.assert_array_equal(again.x_train, digits.x_train)
    np.testing.assert_array_equal(again.y_test, digits.y_test)


def test_classes_in_proportion(digits: Dataset) -> None:
    train, test = np.bincount(digits.y_train), np.bincount(digits.y_test)
    assert np.abs(test - (train + test) / 5).max() <= 1


def test_no_picture_in_both_parts() -> None:
    _, labels = raw_digits()
    train, test = every_fifth_for_test(labels)
    assert sorted([*train, *test]) == list(range(1797))


def test_centre_of_mass_as_in_mnist(digits: Dataset) -> None:
    # In MNIST itself every one lies within half a pixel of (14, 14).
    for images in (digits.x_train, digits.x_test):
        assert np.abs(mass_centres(images) - 14).max() <= 0.5 + 1e-9


def test_longer_side_is_20(digits: Dataset) -> None:
    for image in digits.x_train:
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_ink_and_paper_as_in_mnist(digits: Dataset) -> None:
    x = digits.x_train
    # MNIST: 81 % paper, 7 % full ink, some grey between (the smooth edges).
    assert 0.7 < (x == 0).mean() < 0.85
    assert 0.05 < (x > 250).mean() < 0.12
    assert 0.05 < ((x > 0) & (x <= 250)).mean() < 0.2


def test_smooth_not_blocky(digits: Dataset) -> None:
    # Copying each 8x8 cell to a block would make most neighbours within the ink equal.
    inside = digits.x_train[:, 5:23, 5:23].astype(int)
    changes = np.abs(np.diff(inside, axis=2))
    grey = (inside[:, :, 1:] > 20) & (inside[:, :, 1:] < 235)
    assert (changes[grey] > 0).mean() > 0.95


@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 16)))
def test_draws_anything_with_ink(counts: np.ndarray) -> None:
    if counts.max() < 16:
        counts[3, 4] = 16
    image = draw(counts)
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert image.any()


@given(st.integers(1, 28), st.integers(1, 28), st.integers(0, 255))
def test_centring_loses_nothing(height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert centred(picture).sum(dtype=np.int64) == picture.sum(dtype=np.int64)


def test_centring_of_an_empty_picture() -> None:
    assert not centred(np.zeros((20, 10), dtype=np.uint8)).any()


def test_digits_take_no_path() -> None:
    with pytest.raises(DataError, match="'digits' comes with convmill, and takes no path"):
        datasets.digits.load_data("somewhere")
