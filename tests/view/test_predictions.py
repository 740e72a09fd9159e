"""Probabilities, labels and names: every form in which a classifier and its labels may come."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convmill.view.predictions import classify, labels_for
from tests.view.classifiers import echo, random_case

LAYERS = keras.layers


def net(*last: keras.layers.Layer) -> keras.Model:
    """A small convnet on 6x6 images that ends with ``last``; the same weights in every call."""
    body = [LAYERS.Conv2D(4, 3, activation="relu"), LAYERS.Flatten()]
    model = keras.Sequential([keras.Input((6, 6, 1)), *body, *last])
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape) / 4 for weight in model.weights])
    return model


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, 6, 6, 1)).astype(np.float32)


LABELS = np.arange(9) % 3


def probabilities(model, x, y=LABELS) -> np.ndarray:
    return classify(model, x, y)[0].probabilities


def test_softmax_outputs_are_taken_as_keras_predicts_them(images):
    model = net(LAYERS.Dense(3, activation="softmax"))
    np.testing.assert_allclose(
        probabilities(model, images), model.predict(images, verbose=0), atol=1e-6
    )


def test_the_model_is_not_changed(images):
    model = net(LAYERS.Dense(3, activation="softmax"))
    model.compile("sgd", "categorical_crossentropy")
    before = model.get_weights()
    attributes = set(vars(model))
    classify(model, images, LABELS)
    assert set(vars(model)) == attributes
    assert model.compiled
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_runs_compiled_where_that_is_covered(images, monkeypatch):
    def not_wanted(*args, **kwargs):
        raise AssertionError("Keras' own path")

    monkeypatch.setattr(keras.Model, "make_predict_function", not_wanted)
    assert probabilities(net(LAYERS.Dense(3, activation="softmax")), images).shape == (9, 3)


LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("loss", [None, LOGITS, [LOGITS]], ids=["none", "one", "a list of one"])
def test_logits_go_through_a_softmax(images, loss):
    model = net(LAYERS.Dense(3))
    if loss is not None:
        model.compile("sgd", loss)
    expected = net(LAYERS.Dense(3, activation="softmax")).predict(images, verbose=0)
    np.testing.assert_allclose(probabilities(model, images), expected, atol=1e-6)


@pytest.mark.parametrize("ending", ["layer", "operation", "inner model"])
def test_a_softmax_in_any_guise_is_found(images, ending):
    plain = net(LAYERS.Dense(3, activation="softmax"))
    if ending == "layer":
        model = net(LAYERS.Dense(3), LAYERS.Softmax())
    elif ending == "operation":
        body = net(LAYERS.Dense(3))
        model = keras.Model(body.inputs[0], keras.ops.softmax(body.outputs[0]))
    else:
        inputs = keras.Input((6, 6, 1))
        model = keras.Model(inputs, plain(inputs))
    expected = plain.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities(model, images), expected, atol=1e-6)


@pytest.mark.parametrize("logits", [False, True])
def test_one_unit_tells_two_classes_apart(images, logits):
    sigmoid = net(LAYERS.Dense(1, activation="sigmoid"))
    model = net(LAYERS.Dense(1)) if logits else sigmoid
    one = sigmoid.predict(images, verbose=0)[:, 0]
    found = probabilities(model, images, LABELS > 1)
    np.testing.assert_allclose(found, np.stack([1 - one, one], axis=1), atol=1e-6)


def test_extreme_logits_of_one_unit_stay_finite():
    found = probabilities(echo(1), np.array([[-1e5], [1e5]]), np.array([0, 1]))
    np.testing.assert_array_equal(found, [[1, 0], [0, 1]])


def test_several_sigmoids_are_taken_as_they_are(images):
    model = net(LAYERS.Dense(3, activation="sigmoid"))
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities(model, images), expected, atol=1e-6)


def test_a_model_with_a_call_of_its_own(images):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = net(LAYERS.Dense(3, activation="softmax"))

        def call(self, inputs):
            return self.inner(inputs)

    model = Own()
    expected = model.inner.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities(model, images), expected, atol=1e-6)


def test_a_channel_axis_is_added(images):
    model = net(LAYERS.Dense(3, activation="softmax"))
    found, as_read = classify(model, images[..., 0], LABELS)
    assert as_read.shape == (9, 6, 6, 1)
    np.testing.assert_array_equal(found.probabilities, probabilities(model, images))


def test_what_follows_from_the_probabilities():
    x = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.4, 0.4, 0.2]], np.float32)
    found, _ = classify(echo(3), x, [0, 2, 0], ["a", "b", "c"])
    assert found.predicted.tolist() == [0, 1, 0]
    assert found.correct.tolist() == [True, False, True]
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.class_names == ("a", "b", "c")
    np.testing.assert_allclose(found.confidence, [0.7, 0.5, 0.4])


def test_labels_in_every_form():
    indices = np.array([2, 0, 1, 2])
    for y in (indices, indices[:, np.newaxis], indices.astype(float), np.eye(3)[indices]):
        labels = labels_for(y, 3)
        assert labels.tolist() == indices.tolist()
        assert labels.dtype == np.int64
    assert labels_for(np.array([True, False]), 2).tolist() == [1, 0]
    assert labels_for(np.eye(2)[[1, 0]], 2).tolist() == [1, 0]


ROWS = np.full((4, 3), 1 / 3, np.float32)


@pytest.mark.parametrize(
    ("x", "y", "names", "said"),
    [
        (ROWS[:0], [], None, "at least one image"),
        (ROWS, [0, 1, 2], None, "x of length 4, y of length 3"),
        (ROWS[:, :2], [0, 1, 2, 0], None, r"x must be of shape \(n, 3\)\. Received: \(4, 2\)"),
        (
            ROWS * np.nan,
            [0, 1, 2, 0],
            None,
            r"x must hold finite numbers.*x\[0, 0\] = nan",
        ),
        (1.0, [0], None, r"x must hold at least one image.*shape \(\)"),
        (ROWS.astype(str), [0, 1, 2, 0], None, "x must hold real numbers"),
        ([[1, 2], [3]], [0, 1], None, "x must be an array of numbers"),
        (ROWS, [0, 1, 2, 3], None, r"whole numbers from 0 to 2.*Received: y\[3\] = 3"),
        (ROWS, [0, 1, -1, 2], None, r"y\[2\] = -1"),
        (ROWS, [0, 1, 0.5, 2], None, r"y\[2\] = 0\.5"),
        (ROWS, np.zeros((4, 2)), None, r"one-hot rows \(n, 3\).*\(4, 2\)"),
        (ROWS, np.full((4, 3), 1 / 3), None, r"one-hot rows, a single 1.*y\[0\]"),
        (ROWS, np.eye(3)[[0, 1, 2, 0]] * 2, None, "a single 1"),
        (ROWS, [0, 1, 2, 0], ["a", "b"], "class_names must hold 3 names"),
        (ROWS, [0, 1, 2, 0], "abc", "class_names must be a list of str"),
    ],
)
def test_what_cannot_be_used_is_said(x, y, names, said):
    with pytest.raises((TypeError, ValueError), match=said):
        classify(echo(3), x, y, names)


def test_what_is_no_classifier(images):
    with pytest.raises(TypeError, match="must be a Keras model"):
        classify("model", images, LABELS)
    with pytest.raises(ValueError, match="must be built"):
        classify(keras.Sequential([LAYERS.Dense(3)]), images, LABELS)
    with pytest.raises(ValueError, match=r"Received: outputs of shape \(9, 4, 4, 4\)"):
        classify(keras.Sequential([keras.Input((6, 6, 1)), LAYERS.Conv2D(4, 3)]), images, LABELS)
    inputs = [keras.Input((3,)), keras.Input((3,))]
    with pytest.raises(ValueError, match="2 inputs and 1 outputs"):
        classify(keras.Model(inputs, LAYERS.Add()(inputs)), images, LABELS)


@pytest.mark.parametrize("loss", ["mse", ["mse"]])
def test_outputs_that_are_no_probabilities(images, loss):
    model = net(LAYERS.Dense(3))
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match="last activation linear, loss mse"):
        classify(model, images, LABELS)


def test_a_model_that_diverged(images):
    model = net(LAYERS.Dense(3, activation="softmax"))
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    with pytest.raises(ValueError, match="NaN or infinity for 9 of 9 images"):
        classify(model, images, LABELS)


def test_accuracy_is_that_of_keras():
    x, y = random_case(200, 5)
    model = echo(5)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    expected = model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    assert classify(model, x, y)[0].accuracy == pytest.approx(expected)
