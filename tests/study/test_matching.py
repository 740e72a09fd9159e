"""Widths scaled until parameters or multiply-adds are those of another arm, counted by Keras."""

from __future__ import annotations

import keras
import pytest

from convmill.study.errors import StudyError
from convmill.study.matching import match, scaled, sizes_of

LAYERS = keras.layers


def sequential(*widths, classes=10):
    model = keras.Sequential([keras.Input((8, 8, 1))])
    for width in widths:
        model.add(LAYERS.Conv2D(width, 3, activation="relu"))
    model.add(LAYERS.Flatten())
    model.add(LAYERS.Dense(classes, activation="softmax"))
    return model


def residual(width):
    inputs = keras.Input((8, 8, 1))
    x = LAYERS.Conv2D(width, 3, padding="same")(inputs)
    y = LAYERS.Conv2D(width, 3, padding="same")(x)
    x = LAYERS.BatchNormalization()(LAYERS.Add()([x, y]))
    x = LAYERS.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, LAYERS.Activation("softmax")(LAYERS.Dense(10)(x)))


def test_sizes_are_those_that_are_counted_by_hand():
    sizes = sizes_of(sequential(4))
    assert sizes.parameters == 4 * (9 + 1) + 10 * (4 * 36 + 1)
    assert sizes.multiply_adds == 36 * 4 * 9 + 10 * 4 * 36


def test_scaled_widths_leave_outputs_as_they_are():
    found = scaled(sequential(4, 6), 2.5)
    assert [getattr(layer, "filters", None) for layer in found.layers[:2]] == [10, 15]
    assert found.output_shape == (None, 10)


def test_branches_still_add_up():
    found = scaled(residual(8), 1.6)
    assert found.count_params() == residual(13).count_params()


@pytest.mark.parametrize("figure", ["parameters", "multiply_adds"])
def test_a_match_is_as_near_as_any_width_comes(figure):
    wanted = getattr(sizes_of(sequential(9)), figure)
    found = match(sequential(64), figure, wanted, "arm")
    assert getattr(sizes_of(scaled(sequential(64), found.factor)), figure) == wanted
    assert f"for {wanted:,} (0.0 %)" in found.words


def test_grouped_convolutions_keep_whole_groups():
    model = keras.Sequential([keras.Input((8, 8, 4)), LAYERS.Conv2D(8, 3, groups=4)])
    model.add(LAYERS.GlobalAveragePooling2D())
    model.add(LAYERS.Dense(2))
    assert scaled(model, 1.3).layers[0].filters == 12


def test_what_cannot_be_matched_is_said():
    with pytest.raises(StudyError, match=r"no widths give 10 parameters; the nearest are \d+"):
        match(sequential(4), "parameters", 10, "arm 'a'")
