"""Receptive fields: against what changes in Keras when a pixel does, and published figures."""

from __future__ import annotations

from random import Random

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convmill.design.fields import AxisField, Seen, fields
from convmill.design.steps import Design, design_of
from tests.design.graphs import graph, perturb
from tests.plan.nets import notebook, sequential, unpooled


def spans(seen: np.ndarray) -> list[tuple[int, int] | None]:
    """First and last pixel along axis 0 that reaches each place of axis 1."""
    found = []
    for place in range(seen.shape[1]):
        pixels = np.flatnonzero(seen[:, place])
        found.append((int(pixels[0]), int(pixels[-1])) if len(pixels) else None)
    return found


def check_axis(axis: AxisField, seen: np.ndarray) -> None:
    """``seen``: bool (pixels, places) along one axis."""
    assert list(axis.spans) == spans(seen)
    if axis.jump is None:
        return
    assert axis.start is not None
    for place, span in enumerate(axis.spans):
        first = axis.start + place * axis.jump
        window = range(max(first, 0), min(first + axis.size, axis.length))
        if span is not None:  # dilation leaves holes that padding can fall into
            assert window[0] <= span[0] <= span[1] <= window[-1]


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_fields_are_what_reaches_each_unit(random: Random) -> None:
    model = graph(random)
    design = design_of(model)
    last = design.outputs[0]
    (field,) = fields(design)[last].values()
    assert field.known
    seen = perturb(model)
    rows, columns = field.rows, field.columns
    sees_rows, sees_columns = seen.any(axis=(1, 3)), seen.any(axis=(0, 2))
    if all(span is not None for span in (*rows.spans, *columns.spans)):
        check_axis(rows, sees_rows)
        check_axis(columns, sees_columns)
    for row, column in np.ndindex(*seen.shape[2:]):
        sees = rows.spans[row] is not None and columns.spans[column] is not None
        assert seen[:, :, row, column].any() == sees


def last_map(design: Design) -> Seen:
    """What the units of the last feature map see."""
    last = [step for step in design.steps if step.is_map][-1]
    return fields(design)[last.name]


@pytest.mark.parametrize(
    ("name", "size", "jump"),
    [
        # Araujo, Norris and Sim (Distill, 2019), for the layer before global pooling
        ("VGG16", 212, 32),
        pytest.param("ResNet50", 483, 32, marks=pytest.mark.long),
        ("MobileNet", 315, 32),
        pytest.param("InceptionV3", 1311, 32, marks=pytest.mark.long),
    ],
)
def test_published_fields(name: str, size: int, jump: int) -> None:
    make = getattr(keras.applications, name)
    design = design_of(make(weights=None, include_top=False, input_shape=(224, 224, 3)))
    (field,) = last_map(design).values()
    assert (field.rows.size, field.rows.jump) == (size, jump)
    assert (field.columns.size, field.columns.jump) == (size, jump)


def test_the_notebook_with_and_without_pooling() -> None:
    for model, size, jump, share in (
        (notebook(), 18, 4, (18 * 18) / (28 * 28)),
        (unpooled(), 7, 1, (7 * 7) / (28 * 28)),
    ):
        design = design_of(model)
        (field,) = last_map(design).values()
        assert (field.rows.size, field.rows.jump, field.rows.start) == (size, jump, 0)
        assert field.share == share


def test_same_padding_begins_before_the_image() -> None:
    design = design_of(sequential(layers.Conv2D(1, (5, 3), padding="same", name="same")))
    (field,) = fields(design)["same"].values()
    assert (field.rows.start, field.columns.start) == (-2, -1)
    assert field.rows.spans[0] == (0, 2)


def test_dense_sees_what_pooling_left() -> None:
    design = design_of(
        sequential(layers.MaxPooling2D(2, name="pool"), layers.Flatten(), layers.Dense(1, name="d"))
    )
    (field,) = fields(design)["d"].values()
    assert field.columns.spans == ((0, 7),)  # the ninth column is in no window
    assert (field.rows.size, field.columns.size) == (8, 8)
    assert (field.rows.jump, field.rows.start) == (None, None)


def test_a_flattened_unit_sees_what_its_place_saw() -> None:
    design = design_of(sequential(layers.Conv2D(2, 3), layers.Flatten(name="flat")))
    (field,) = fields(design)["flat"].values()
    assert (field.rows.size, field.columns.size) == (3, 3)


def test_several_inputs_have_fields_of_their_own() -> None:
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    joined = layers.Add(name="sum")([layers.Conv2D(1, 3, padding="same")(left), right])
    seen = fields(design_of(keras.Model([left, right], joined)))["sum"]
    assert {name: field.rows.size for name, field in seen.items()} == {"left": 3, "right": 1}


class Mixed(keras.layers.Layer):
    """A layer that nobody knows."""

    def call(self, inputs):
        return keras.ops.cumsum(inputs, 1)


def test_behind_a_layer_that_is_not_known_fields_are_not_known() -> None:
    design = design_of(sequential(Mixed(name="mixed"), layers.Conv2D(1, 3, name="after")))
    seen = fields(design)
    for name in ("mixed", "after"):
        (field,) = seen[name].values()
        assert not field.known
    assert design.step("mixed").kind == "other"
    assert not design.step("mixed").counted


def test_channels_first_says_nothing_of_places() -> None:
    model = sequential(
        layers.ReLU(name="relu"),
        layers.GlobalAveragePooling2D(data_format="channels_first"),
        shape=(4, 9, 9),
    )
    (field,) = fields(design_of(model))["relu"].values()
    assert not field.known


def test_normalization_over_a_vector_reads_all_of_it() -> None:
    design = design_of(sequential(layers.LayerNormalization(name="norm"), shape=(10,)))
    (field,) = fields(design)["norm"].values()
    assert (field.rows.size, field.columns.size) == (1, 10)


def test_what_another_output_of_a_layer_saw_is_at_most_what_the_first_did() -> None:
    image = keras.Input((9, 8, 3))
    top, bottom = keras.ops.split(image, [2], axis=1)
    model = keras.Model(image, [top, layers.Conv2D(4, 3, name="c")(bottom)])
    (field,) = fields(design_of(model))["c"].values()
    assert not field.known
    assert len(field.rows.spans) == 5
