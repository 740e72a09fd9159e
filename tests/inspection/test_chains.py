"""Rules on layers that follow one another, and on vector lanes."""

from __future__ import annotations

import keras
import pytest
from keras.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Lambda,
    LayerNormalization,
    MaxPooling2D,
    ReLU,
    Reshape,
    Softmax,
    ZeroPadding2D,
)

from convmill.inspection.findings.chains import (
    bias_before_normalization,
    hidden_softmax,
    linear_pair,
)
from convmill.inspection.findings.lanes import idle_lanes
from tests.inspection.nets import chain, said


@pytest.mark.parametrize(
    "between",
    [
        [],
        [Dropout(0.5)],
        [BatchNormalization()],
        [AveragePooling2D(2)],
        [ZeroPadding2D(1), Activation("linear")],
    ],
)
def test_linear_pair(between):
    model = chain(Conv2D(4, 3), *between, Conv2D(4, 3, activation="relu"))
    (finding,) = said(linear_pair, model)
    assert finding.layer == model.layers[-1].name
    assert finding.number == 40 + 148


def test_linear_pair_of_dense_layers_and_across_flatten():
    model = chain(Conv2D(4, 3), Flatten(), Dense(5), Dense(3))
    assert [each.number for each in said(linear_pair, model)] == [40 + 13_525, 13_525 + 18]


@pytest.mark.parametrize(
    "between", [[ReLU()], [MaxPooling2D(2)], [Activation("tanh")], [LayerNormalization()]]
)
def test_no_linear_pair_with_something_nonlinear_between(between):
    assert said(linear_pair, chain(Conv2D(4, 3), *between, Conv2D(4, 3))) == ()


def test_no_linear_pair_in_a_bottleneck_or_a_depthwise_convolution():
    assert said(linear_pair, chain(Conv2D(2, 1), Conv2D(8, 1), shape=(8, 8, 8))) == ()
    assert said(linear_pair, chain(DepthwiseConv2D(3), Conv2D(8, 1), shape=(8, 8, 8))) == ()
    assert said(linear_pair, chain(Conv2D(8, 1), Conv2D(8, 1), shape=(8, 8, 8))) != ()


def test_no_linear_pair_of_a_projection_as_wide_as_what_it_reads():
    def pair(*before):
        return chain(*before, ReLU(), Conv2D(8, 1), Conv2D(24, 1), shape=(8, 8, 8))

    assert said(linear_pair, pair(DepthwiseConv2D(3))) == ()
    assert said(linear_pair, pair(Conv2D(8, 3))) != ()


def test_no_linear_pair_where_a_vector_becomes_a_map():
    model = chain(Dense(36), Reshape((3, 3, 4)), Conv2DTranspose(2, 3), shape=(5,))
    assert said(linear_pair, model) == ()


@pytest.mark.parametrize(
    ("first", "second", "fires"),
    [
        (lambda: Conv2D(4, (1, 3)), lambda: Conv2D(4, (3, 1)), False),
        (lambda: Conv2D(4, (5, 1)), lambda: Conv2D(4, (1, 5)), False),
        (lambda: Conv2D(4, (1, 3)), lambda: Conv2D(4, (1, 3)), True),
        (lambda: Conv2D(4, (1, 3)), lambda: Conv2D(4, 3), True),
        (lambda: Conv2D(4, 1), lambda: DepthwiseConv2D(3), False),
    ],
)
def test_no_linear_pair_of_a_kernel_in_parts(first, second, fires):
    assert bool(said(linear_pair, chain(first(), second()))) is fires


def branching():
    image = keras.Input((8, 8, 4))
    first = Conv2D(4, 3, padding="same")(image)
    return keras.Model(image, Add()([Conv2D(4, 3, padding="same")(first), first]))


def test_no_linear_pair_where_something_else_reads_the_first():
    assert said(linear_pair, branching()) == ()


@pytest.mark.parametrize("arguments", [{}, {"center": False}, {"center": False, "scale": False}])
def test_bias_before_normalization(arguments):
    model = chain(Conv2D(4, 3), BatchNormalization(**arguments), ReLU())
    fires = arguments != {"center": False, "scale": False}  # nothing trained: it may be frozen
    found = said(bias_before_normalization, model)
    assert [(each.layer, each.number) for each in found] == [(model.layers[0].name, 4)] * fires


def test_biases_before_normalization_are_told_together():
    blocks = [(Conv2D(n, 1, name=f"c{n}"), BatchNormalization(), ReLU()) for n in (2, 3, 4, 5)]
    (finding,) = said(bias_before_normalization, chain(*(layer for b in blocks for layer in b)))
    assert finding.layer is None
    assert finding.number == 14
    assert "the bias of c2, c3 and 2 other layers" in finding.what


@pytest.mark.parametrize(
    "stack",
    [
        [Conv2D(4, 3, use_bias=False), BatchNormalization()],
        [Conv2D(4, 3, activation="relu"), BatchNormalization()],
        [Conv2D(4, 3), ReLU(), BatchNormalization()],
        [Conv2D(4, 3), BatchNormalization(trainable=False)],
        [Conv2D(4, 3), BatchNormalization(axis=1)],
        [Conv2D(4, 3), LayerNormalization()],
    ],
)
def test_a_bias_that_counts(stack):
    assert said(bias_before_normalization, chain(*stack)) == ()


@pytest.mark.parametrize("between", [[], [Dropout(0.5)]])
def test_hidden_softmax(between):
    model = chain(Flatten(), Dense(50, activation="softmax", name="flat"), *between, Dense(10))
    (finding,) = said(hidden_softmax, model)
    assert finding.layer == "flat"
    assert finding.number == pytest.approx(1 / 50)


def attention():
    image = keras.Input((8, 8, 4))
    gate = Conv2D(4, 1, activation="softmax")(image)
    return keras.Model(image, Conv2D(2, 1)(keras.layers.Multiply()([image, gate])))


@pytest.mark.parametrize(
    "model",
    [
        lambda: chain(Flatten(), Dense(10, activation="softmax")),
        lambda: chain(Flatten(), Dense(10), Softmax()),
        lambda: chain(Flatten(), Dense(50, activation="relu"), Dense(10)),
        attention,
    ],
)
def test_softmax_at_the_end_or_as_a_gate(model):
    assert said(hidden_softmax, model()) == ()


@pytest.mark.parametrize(
    ("filters", "lanes", "idle"),
    [(6, 16, 10 / 16), (10, 8, 6 / 16), (33, 16, 15 / 48), (6, 4, 0), (12, 16, 0), (32, 16, 0)],
)
def test_idle_lanes(filters, lanes, idle):
    found = said(idle_lanes, chain(Conv2D(filters, 3), Flatten(), Dense(1)), lanes=lanes)
    assert [each.number for each in found] == ([pytest.approx(idle)] if idle else [])


def test_idle_lanes_of_a_depthwise_layer_are_not_its_choice():
    narrow = chain(DepthwiseConv2D(3), Flatten(), Dense(1), shape=(9, 9, 3))
    assert said(idle_lanes, narrow, lanes=8) == ()


def test_idle_lanes_matter_only_where_the_work_is():
    def narrow():
        return [Conv2D(2, 1, name="narrow"), Flatten(), Dense(2)]

    assert said(idle_lanes, chain(Conv2D(64, 3), Conv2D(64, 3), *narrow())) == ()
    assert [each.layer for each in said(idle_lanes, chain(*narrow()))] == ["narrow"]


@pytest.mark.parametrize("end", [[], [Softmax()], [Activation("tanh"), Dropout(0.1)]])
def test_the_number_of_outputs_is_not_free(end):
    assert said(idle_lanes, chain(Flatten(), Dense(2), *end)) == ()
    assert said(idle_lanes, chain(Flatten(), Dense(2), *end, Dense(1))) != ()


@pytest.mark.parametrize("end", [[GlobalAveragePooling2D(), Softmax()], [Flatten()]])
def test_outputs_behind_global_pooling_or_flattened(end):
    assert said(idle_lanes, chain(Conv2D(2, 1), *end)) == ()
    assert said(idle_lanes, chain(Conv2D(2, 1), MaxPooling2D(2), *end)) != ()


def test_lanes_of_channels_first_are_not_known():
    model = chain(Conv2D(6, 3, data_format="channels_first"), Flatten(), Dense(1), shape=(1, 9, 9))
    assert said(idle_lanes, model) == ()


def test_shares_of_work_that_is_not_known():
    own = Lambda(lambda x: keras.ops.cumsum(x, 1))
    assert said(idle_lanes, chain(own, Conv2D(2, 3), Flatten(), Dense(1))) == ()
