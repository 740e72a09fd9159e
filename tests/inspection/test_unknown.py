"""Figures of layers along one axis and in space, and of what is not known of a design."""

from __future__ import annotations

import math

import keras
import pytest
from keras import Input, Model, layers, ops

import convmill
from convmill.inspection.compare import compare
from tests.inspection.nets import chain, notebook

UNKNOWN = "forward_multiply_adds", "training_multiply_adds", "forward_other_operations"


def own():
    """A net with a layer that nobody knows."""
    return chain(
        layers.Conv2D(2, 3, name="conv"),
        layers.Lambda(lambda x: keras.ops.cumsum(x, 1), name="own"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    )


def test_a_convolution_along_one_axis_counts():
    other = chain(
        layers.Reshape((784, 1)),
        layers.Conv1D(256, 9),
        layers.GlobalAveragePooling1D(),
        layers.Dense(10),
    )
    found = compare(convmill.inspect(notebook()), convmill.inspect(other)).to_dict()
    work = (784 - 8) * 256 * 9 + 256 * 10
    assert found["b"]["totals"]["forward_multiply_adds"] == work == 1_790_464
    assert found["b"]["totals"]["forward_other_operations"] == 776 * 256
    first = found["a"]["totals"]["forward_multiply_adds"]
    assert found["ratios"]["forward_multiply_adds"] == pytest.approx(work / first)


@pytest.mark.parametrize(
    ("layer", "shape", "work", "operations"),
    [
        (layers.Conv1D(5, 3, strides=2), (9, 4), (4 * 5) * 3 * 4, 0),
        (layers.Conv1D(6, 3, padding="causal"), (9, 4), (9 * 6) * 3 * 4, 0),
        (layers.Conv1D(6, 3, groups=2), (9, 4), (7 * 6) * 3 * 2, 0),
        (layers.Conv1D(5, 3, activation="relu"), (9, 4), (7 * 5) * 3 * 4, 7 * 5),
        (layers.Conv1D(5, 3, data_format="channels_first"), (4, 9), (7 * 5) * 3 * 4, 0),
        (layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4), (7 * 4 * 2) * 3, 0),
        (layers.SeparableConv1D(5, 3), (9, 4), 7 * (3 * 4 + 4 * 5), 0),
        (layers.Conv1DTranspose(5, 3, strides=2), (9, 4), 9 * 4 * 3 * 5, 0),
        (layers.Conv3D(5, 2), (4, 5, 6, 3), (3 * 4 * 5 * 5) * 8 * 3, 0),
        (layers.Conv3DTranspose(5, 2), (4, 5, 6, 3), (4 * 5 * 6) * 3 * 8 * 5, 0),
        (layers.MaxPooling1D(3), (9, 4), 0, 9 * 4),
        (layers.AveragePooling1D(3), (9, 4), 0, 9 * 4),
        (layers.GlobalMaxPooling1D(), (9, 4), 0, 9 * 4),
        (layers.GlobalAveragePooling1D(keepdims=True), (9, 4), 0, 9 * 4),
        (layers.MaxPooling3D(2), (4, 4, 4, 3), 0, 64 * 3),
        (layers.GlobalAveragePooling3D(), (4, 4, 4, 3), 0, 64 * 3),
        # 9 places to 4 windows of 3; 8 rows to windows of 3, 4 and 3, 6 columns to 4 of 2
        (layers.AdaptiveMaxPooling1D(4), (9, 4), 0, (3 + 3 + 3 + 3) * 4),
        (layers.AdaptiveAveragePooling2D((3, 4)), (8, 6, 2), 0, 10 * 8 * 2),
        (layers.RMSNormalization(), (9, 4), 0, 9 * 4),
        (layers.ZeroPadding1D(2), (9, 4), 0, 0),
        (layers.Cropping1D(2), (9, 4), 0, 0),
        (layers.UpSampling1D(2), (9, 4), 0, 0),
        (layers.Permute((2, 1)), (9, 4), 0, 0),
        (layers.RepeatVector(3), (9,), 0, 0),
        (layers.Embedding(20, 6), (9,), 0, 0),
        (layers.Dense(5), (9, 4), 9 * 4 * 5, 0),
        (layers.EinsumDense("abc,cd->abd", (9, 5)), (9, 4), 9 * 4 * 5, 0),
        (layers.EinsumDense("...x,xy->...y", 5), (9, 4), 9 * 4 * 5, 0),
        (layers.EinsumDense("abc,bce->ae", 5), (9, 4), 9 * 4 * 5, 0),
        (layers.EinsumDense("abc,cde->abde", (9, 2, 3)), (9, 4), 9 * 4 * 2 * 3, 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_layers_along_one_axis_and_in_space(layer, shape, work, operations):
    model = chain(layer, shape=shape)
    found = convmill.inspect(model)
    totals = found.to_dict()["totals"]
    assert totals["forward_multiply_adds"] == work
    assert totals["forward_other_operations"] == operations
    assert totals["parameters"] == model.count_params()
    assert found.rows[-1].step.shape == model.output_shape[1:]
    written = math.prod(shape) + math.prod(model.output_shape[1:])
    turned = getattr(layer, "data_format", "") == "channels_first"  # on the way in and out
    assert totals["output_bytes"] == 4 * written * (2 if turned else 1)


def test_a_sum_that_leaves_a_layer_out_is_marked_in_every_face():
    found = convmill.inspect(own())
    work = 26 * 26 * 2 * 9 + 2 * 3
    for text in (str(found), found.markdown(), found._repr_html_()):
        text = " ".join(text.split())
        assert f"Multiply-adds of an image: at least {work:,} forward, at least" in text
        assert "Not known, and so not counted: own" in text
        assert "Parameters: 29" in text
    plain = found.to_dict()
    assert [plain["totals"][key] for key in UNKNOWN] == [None] * 3
    assert plain["totals"]["parameters"] == 29
    assert plain["totals_at_least"]["forward_multiply_adds"] == work
    assert plain["uncounted_layers"] == ["own"]
    layer = plain["layers"][2]
    assert (layer["name"], layer["multiply_adds_known"]) == ("own", False)
    assert [layer[key] for key in UNKNOWN] == [None] * 3


@pytest.mark.parametrize("second", [True, False])
def test_nothing_is_divided_by_what_is_not_known(second):
    pair = [notebook(), own()] if second else [own(), notebook()]
    found = compare(*map(convmill.inspect, pair))
    assert [found.to_dict()["ratios"][key] for key in UNKNOWN] == [None] * 3
    assert found.ratios["kept_bytes"] is None
    assert found.ratios["parameters"] == pytest.approx(29 / 93_322 if second else 93_322 / 29)
    for text in (str(found), found.markdown().replace("\\", ""), found._repr_html_()):
        text = text.replace("&gt;", ">")
        assert ">= 12,174" in text
        assert f"{'AB'[second]}: Not known, and so not counted: own." in text
    (row,) = [row for row in found.document().tables[1].rows if row[0] == "multiply-adds, forward"]
    assert row[-1] == "?"


def test_attention_and_recurrence_are_honestly_not_known():
    image = Input((12, 8))
    seen = layers.MultiHeadAttention(2, 4, name="attention")(image, image)
    found = convmill.inspect(Model(image, layers.LSTM(5, name="lstm")(seen)))
    assert found.uncounted == ("attention", "lstm")
    assert found.to_dict()["totals"]["parameters"] == found.total.parameters > 0


def test_operations_that_move_values_are_known():
    image = Input((9, 8, 3))
    moved = ops.squeeze(ops.transpose(ops.expand_dims(image, 1), (0, 2, 3, 1, 4)), 3)
    found = convmill.inspect(Model(image, moved))
    assert found.uncounted == ()
    assert found.to_dict()["totals"]["forward_multiply_adds"] == 0
