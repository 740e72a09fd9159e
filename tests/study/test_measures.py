"""Measures of trained nets, against what is worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from convmill.study.errors import StudyError
from convmill.study.measures import MEASURES, position, probe, weights
from convmill.study.measures.trained import Trained

BLANK = np.empty(0, np.float32)


class Brightest:
    """A stand-in for a model of 4x4 pixels and 16 classes: the class is the brightest pixel."""

    layers = ()

    def predict(self, images, **_):
        return images.reshape(len(images), -1)


def trained(**known):
    """A Trained of four images of one bright pixel each, at 5, 5, 6 and 6 of a 4x4 image."""
    labels = np.array([5, 5, 6, 6])
    x = np.zeros((4, 16), np.float32)
    x[np.arange(4), labels] = 1
    x = x.reshape(4, 4, 4, 1)
    given = {
        "model": Brightest(),
        "x_train": x,
        "labels_train": labels,
        "y_train": labels,
        "x_test": x,
        "labels_test": labels,
        "y_test": labels,
        "stored_test": x,
        "class_names": tuple(map(str, range(16))),
        "epoch_seconds": (3.0, 1.0, 2.0),
        "curves": {"val_accuracy": (0.5, 0.75), "val_loss": (2.0, 1.0)},
        "options": {},
        "canvas": None,
        "first_kernel": BLANK,
    }
    return Trained(**{**given, **known})


def value(name, of):
    return MEASURES[name].function(of).value


def test_scores_are_counted():
    found = trained(labels_test=np.array([5, 5, 6, 7]))
    assert value("accuracy", found) == 0.75
    assert value("train_accuracy", found) == 1.0
    assert value("gap", found) == 0.25
    assert value("loss", found) == 1.0
    assert value("epoch_seconds", found) == 2.0
    assert (value("best_accuracy", found), value("dip", found)) == (0.75, 0.0)
    assert value("dip", trained(labels_test=np.array([5, 7, 7, 7]))) == 0.5


def test_digits_are_moved_until_they_touch_the_border():
    image = np.zeros((2, 5, 5, 1), np.float32)
    image[0, 2, 1:3, 0] = 1, 2
    image[1, 3, 3, 0] = 3
    for side, rows, columns in (
        ((-1, 0), (0, 0), (1, 3)),
        ((1, 0), (4, 4), (1, 3)),
        ((0, -1), (2, 3), (0, 0)),
        ((0, 1), (2, 3), (3, 4)),
    ):
        moved = position.to_border(image, *side)
        assert moved[0, rows[0], columns[0], 0] == 1
        assert moved[0, rows[0], columns[0] + 1, 0] == 2
        assert moved[1, rows[1], columns[1], 0] == 3
        assert moved.sum() == image.sum()


def test_accuracy_over_position_is_a_map():
    stored = np.full((1, 1, 1), 200, np.uint8)
    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 0, 0] = 200 / 255
    found = trained(x_test=x, stored_test=stored, canvas=8, labels_test=np.array([9]))
    measured = position.position_accuracy(found)
    assert measured.map is not None
    assert measured.axes is not None
    assert np.argwhere(measured.map).tolist() == [[1, 1]]  # pixel 9 of 8x8: row 1, column 1
    assert measured.value == 1 / 64
    assert measured.axes[0].values == tuple(map(float, range(8)))
    with pytest.raises(StudyError, match="needs data with a canvas"):
        position.position_accuracy(replace(found, canvas=None))


def test_the_extent_is_where_a_unit_has_learned():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, use_bias=False))
    before = model.layers[1].get_weights()[0]
    after = before.reshape(4, 4, 2).copy()
    after[0, 0, 0] += 3  # one pixel holds all that the first unit has learned
    after[1, 0:4:2, 1] += 2  # two pixels, two columns apart, what the second has
    model.layers[1].set_weights([after.reshape(16, 2)])
    found = trained(model=model, first_kernel=before)
    assert weights.extent(found).value == (1 + 2) / 2
    assert weights.radius(found).value == pytest.approx((0 + 1) / 2)


def test_a_window_tells_by_itself():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, use_bias=False)])
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[0, 0, 0] = -1, 1  # class 1 where the window's first pixel is bright, else class 0
    model.layers[0].set_weights([kernel])
    model.add(keras.layers.GlobalAveragePooling2D())
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 1, 1] = 1
    found = position.window_accuracy(trained(model=model, x_test=x, labels_test=np.array([1])))
    assert found.value == 0.25
    assert found.map == ((0.0, 0.0), (0.0, 1.0))


def test_a_probe_divides_classes_whatever_the_scale():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (200, 3))
    labels = np.where(x[:, 0] + 0.3 * random.normal(size=200) > 0, 7, 3)
    x_test = random.normal(0, 1, (500, 3))
    found = probe.classified(x, labels, x_test)
    assert set(np.unique(found)) == {3, 7}
    assert np.mean((found == 7) == (x_test[:, 0] > 0)) > 0.95
    # moved, stretched and with a feature that never changes it is the same classifier
    moved, moved_test = (
        np.concatenate([5 + 100 * one, np.ones((len(one), 1))], axis=1) for one in (x, x_test)
    )
    np.testing.assert_array_equal(probe.classified(moved, labels, moved_test), found)


def test_a_probe_finds_what_a_map_tells():
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    x = random.normal(0, 0.1, (80, 6, 6, 1)).astype(np.float32)
    x[labels == 1, 1, 1] += 3
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(1, 3)])
    options = {"probe_accuracy": {"pooling": "max", "convolution": 1, "window": 2, "images": 40}}
    known = {"x_train": x, "labels_train": labels, "x_test": x, "labels_test": labels}
    found = trained(model=model, options=options, **known)
    assert probe.probe_accuracy(found).value == 1.0
    wrong = {"probe_accuracy": {"poling": "max"}}
    with pytest.raises(StudyError, match="Did you mean 'pooling'"):
        probe.probe_accuracy(replace(found, options=wrong))
