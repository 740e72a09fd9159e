"""Rules on the last layer and the loss. Figures are compared with Keras' own losses."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import losses
from keras.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Lambda,
    Reshape,
    Softmax,
)

from convmill.inspection.findings import RULES, find
from convmill.inspection.findings.outputs import (
    EPSILON,
    clipped_output,
    logits_twice,
    loose_sigmoids,
    one_sided_logits,
    one_unit_of_several_classes,
    raw_output,
    softmax_as_yes_or_no,
    softmax_of_one,
)
from convmill.inspection.loss import read_loss
from tests.inspection.nets import chain, facts, said

ON_OUTPUTS = (
    clipped_output,
    logits_twice,
    loose_sigmoids,
    one_sided_logits,
    one_unit_of_several_classes,
    raw_output,
    softmax_as_yes_or_no,
    softmax_of_one,
)
LOGITS = {
    "categorical": losses.CategoricalCrossentropy(from_logits=True),
    "sparse": losses.SparseCategoricalCrossentropy(from_logits=True),
    "binary": losses.BinaryCrossentropy(from_logits=True),
}


def net(units, activation, loss):
    return chain(Flatten(), Dense(units, activation=activation), shape=(4, 4, 1), loss=loss)


def test_all_rules_on_outputs_are_told():
    assert set(ON_OUTPUTS) <= set(RULES)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "rule"),
    [
        (10, "softmax", LOGITS["categorical"], logits_twice),
        (10, "softmax", LOGITS["sparse"], logits_twice),
        (1, "sigmoid", LOGITS["binary"], logits_twice),
        (10, "linear", "categorical_crossentropy", raw_output),
        (10, None, losses.SparseCategoricalCrossentropy(), raw_output),
        (1, None, losses.binary_crossentropy, raw_output),
        (10, "relu", "sparse_categorical_crossentropy", clipped_output),
        (1, "leaky_relu", "bce", clipped_output),
        (10, "relu", LOGITS["categorical"], one_sided_logits),
        (1, "softmax", "binary_crossentropy", softmax_of_one),
        (1, "softmax", None, softmax_of_one),
        (10, "sigmoid", "categorical_crossentropy", loose_sigmoids),
        (10, "sigmoid", LOGITS["sparse"], loose_sigmoids),
        (10, "softmax", "binary_crossentropy", softmax_as_yes_or_no),
        (10, "linear", ["categorical_crossentropy"], raw_output),
        (10, "linear", "categorical_focal_crossentropy", raw_output),
        (1, "linear", losses.BinaryFocalCrossentropy(), raw_output),
        (10, "tanh", "categorical_crossentropy", clipped_output),
        (1, "softsign", "bce", clipped_output),
        (10, "log_softmax", "categorical_crossentropy", clipped_output),
        (1, "sigmoid", "categorical_crossentropy", one_unit_of_several_classes),
        (1, "linear", "sparse_categorical_crossentropy", one_unit_of_several_classes),
        (1, None, LOGITS["categorical"], one_unit_of_several_classes),
        (1, None, LOGITS["sparse"], one_unit_of_several_classes),
        (1, "softmax", LOGITS["categorical"], softmax_of_one),
    ],
)
def test_a_contradiction_is_found_by_one_rule(units, activation, loss, rule):
    model = net(units, activation, loss)
    (finding,) = find(facts(model), ON_OUTPUTS)
    assert finding.rule == rule.__name__.replace("_", " ")
    assert finding.layer == model.layers[-1].name


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (10, "softmax", "categorical_crossentropy"),
        (10, "softmax", losses.SparseCategoricalCrossentropy()),
        (10, "linear", LOGITS["categorical"]),
        (10, "leaky_relu", LOGITS["categorical"]),
        (10, "sigmoid", "binary_crossentropy"),
        (2, "softmax", "binary_crossentropy"),
        (1, "sigmoid", "binary_crossentropy"),
        (1, "linear", LOGITS["binary"]),
        (10, "relu", "mse"),
        (10, "linear", "mse"),
        (10, "linear", None),
        (10, "relu", None),
        (10, "linear", ["categorical_crossentropy", "mse"]),
        (10, "log_softmax", LOGITS["sparse"]),
        (1, "sigmoid", "mse"),
        (10, "softmax", "categorical_focal_crossentropy"),
        (10, "linear", losses.CategoricalFocalCrossentropy(alpha=[0.1] * 10)),
        (10, "linear", lambda y, p: p),
        (10, keras.activations.exponential, "categorical_crossentropy"),
    ],
)
def test_nothing_is_wrong_here(units, activation, loss):
    assert find(facts(net(units, activation, loss)), ON_OUTPUTS) == ()


@pytest.mark.parametrize(
    "end",
    [
        [Dense(10), Softmax()],
        [Dense(10), Activation("softmax")],
        [Dense(10, activation=Softmax())],
        [Dense(10, activation="softmax"), Dropout(0.1), Reshape((10, 1)), Flatten()],
        [Reshape((4, 4, 1)), Conv2D(10, 1, activation="softmax"), AveragePooling2D(4), Flatten()],
        [Dense(10, activation="softmax"), Activation("linear")],
    ],
)
def test_where_the_softmax_stands_does_not_matter(end):
    model = chain(Flatten(), *end, shape=(4, 4, 1), loss=LOGITS["categorical"])
    (finding,) = said(logits_twice, model)
    assert finding.layer == model.layers[-1].name


@pytest.mark.parametrize(
    "end",
    [
        [Lambda(lambda x: keras.ops.cumsum(x, 1))],
        [keras.layers.BatchNormalization()],
        [keras.layers.Softmax(axis=1)],
        [keras.layers.LayerNormalization()],
    ],
)
def test_an_end_that_is_not_known_says_nothing(end):
    model = chain(Flatten(), Dense(10), *end, shape=(4, 4, 1), loss="categorical_crossentropy")
    assert find(facts(model), (raw_output, clipped_output, logits_twice)) == ()


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_the_least_loss_of_a_softmax_taken_twice(classes):
    (finding,) = said(logits_twice, net(classes, "softmax", LOGITS["categorical"]))
    surest = np.eye(classes, dtype="float32")[:1]
    assert finding.number == pytest.approx(float(LOGITS["categorical"](surest, surest)), rel=1e-5)


def test_the_least_loss_of_a_sigmoid_taken_twice():
    (finding,) = said(logits_twice, net(1, "sigmoid", LOGITS["binary"]))
    surest = np.zeros((1, 1), "float32")
    assert finding.number == pytest.approx(float(LOGITS["binary"](surest, surest)), rel=1e-5)


def test_the_loss_of_what_is_clipped():
    wrong = np.array([[-1.0, 3.0]], "float32")
    keras_loss = float(losses.categorical_crossentropy(np.array([[1.0, 0.0]], "float32"), wrong)[0])
    assert pytest.approx(keras_loss, rel=1e-5) == -math.log(EPSILON)


@pytest.mark.parametrize(
    "focal",
    [
        losses.CategoricalFocalCrossentropy(),
        losses.CategoricalFocalCrossentropy(alpha=1, gamma=3, from_logits=True),
        losses.BinaryFocalCrossentropy(gamma=1),
    ],
)
def test_focal_losses_are_those_of_keras(focal):
    loss = read_loss(net(2, "softmax", focal))
    logits = np.array([[0.7, -0.4]])
    probabilities = np.exp(logits) / np.exp(logits).sum()
    right, given = np.array([[1.0, 0.0]]), logits if loss.from_logits else probabilities
    assert loss.of(probabilities[0, 0]) == pytest.approx(float(focal(right, given)), rel=1e-5)


def test_sure_logarithms_are_taken_for_the_least_likely():
    (finding,) = said(clipped_output, net(2, "log_softmax", "categorical_crossentropy"))
    sure = np.array([[-1e-9, -20.0]], "float32")
    keras_loss = float(losses.categorical_crossentropy(np.array([[1.0, 0.0]], "float32"), sure)[0])
    assert finding.number == pytest.approx(keras_loss, rel=1e-5)


@pytest.mark.parametrize("value", [-2.0, 0.3, 7.0])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.filterwarnings("ignore:In loss categorical_crossentropy")
def test_one_unit_is_right_whatever_it_says(value, from_logits):
    one = np.ones((1, 1), "float32")
    loss = losses.CategoricalCrossentropy(from_logits=from_logits)
    assert float(loss(one, value * one)) == pytest.approx(0, abs=2e-7)


@pytest.mark.parametrize("classes", [3, 10])
def test_the_loss_of_guessing(classes):
    (finding,) = said(softmax_as_yes_or_no, net(classes, "softmax", "binary_crossentropy"))
    guess = np.full((1, classes), 1 / classes, "float32")
    keras_loss = float(losses.binary_crossentropy(np.eye(classes)[:1], guess)[0])
    assert finding.number == pytest.approx(keras_loss, rel=1e-4)
    assert f"{math.log(classes):.3f}" in finding.what


def test_softmax_along_another_axis_is_no_softmax_of_one():
    model = chain(Reshape((16, 1)), Softmax(axis=1), shape=(4, 4, 1))
    assert said(softmax_of_one, model) == ()


@pytest.mark.parametrize(
    ("given", "kind", "from_logits"),
    [
        ("CategoricalCrossentropy", "categorical", False),
        ("bce", "binary", False),
        (losses.sparse_categorical_crossentropy, "categorical", False),
        (losses.BinaryCrossentropy(from_logits=True), "binary", True),
    ],
)
def test_losses_are_read(given, kind, from_logits):
    loss = read_loss(net(2, "softmax", given))
    assert loss is not None
    assert (loss.kind, loss.from_logits) == (kind, from_logits)


@pytest.mark.parametrize(
    "given",
    [None, "mse", "crossentropy", losses.Hinge(), ["bce"] * 2, {"a": "bce"}, print, "no such loss"],
)
def test_other_losses_are_none(given):
    model = net(2, "softmax", None)
    model.loss = given
    assert read_loss(model) is None


class Unhashable:
    """A loss of the user's own that compares by value."""

    __hash__ = None

    def __call__(self, y_true, y_pred):
        return y_pred

    def __eq__(self, other):
        return True


def test_a_loss_that_cannot_be_a_key():
    model = net(2, "softmax", None)
    model.loss = Unhashable()
    assert read_loss(model) is None


class OwnLoss(losses.CategoricalCrossentropy):
    """What a subclass computes is not known."""


def test_a_loss_of_the_users_own_is_none():
    assert read_loss(net(2, "softmax", OwnLoss(from_logits=True))) is None
