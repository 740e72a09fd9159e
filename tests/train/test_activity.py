"""Regularizers of what layers compute: Keras' loss and Keras' trajectory."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, regularizers

import convmill
from convmill import models
from tests.train.nets import SHAPE, assert_same_history, assert_same_state, images, seeded_fit

X, Y = images(40)

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may fall back."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


def net(kind: Any, reduction: str = "sum_over_batch_size") -> Any:
    """Penalties of a padded convolution in front of pooling, of pixels by a layer of its own, and
    of the output."""
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(3, 3, padding="same", activity_regularizer=regularizers.L1L2(0.01, 0.02)),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.ActivityRegularization(l1=0.01, l2=0.03),
        layers.Conv2D(2, 2, padding="same", activation="tanh"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", activity_regularizer="l2"),
    ]
    model = kind(stack, name="net")
    loss = losses.CategoricalCrossentropy(reduction=reduction)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_steps_follow_keras(reduction: str) -> None:
    """Batches of 16, 16 and 8, weighted; the penalty is the mean over images, whatever the loss."""
    theirs, ours = (net(kind, reduction) for kind in (keras.Sequential, models.Sequential))
    weights = np.linspace(0.5, 2, len(X)).astype(np.float32)
    arguments = {"sample_weight": weights, "epochs": 2, "validation_data": (X[:20], Y[:20])}
    histories = [seeded_fit(model, X, Y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories, tolerance=1e-3 if reduction == "sum" else 1e-4)  # up to 70
    assert_same_state(ours, theirs)
    found, expected = (model.evaluate(X, Y, batch_size=16, verbose=0) for model in (ours, theirs))
    assert found == pytest.approx(expected, rel=1e-5)
    found, expected = (model.train_on_batch(X[:8], Y[:8]) for model in (ours, theirs))
    assert found == pytest.approx(expected, rel=1e-5)
    assert_same_state(ours, theirs)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    found = []
    for threads in (1, 2, 3):
        model = convmill.accelerate(net(models.Sequential), threads=threads)
        history = seeded_fit(model, X, Y)
        found.append((history.history, model.get_weights()))
    for history, weights in found[1:]:
        assert history == found[0][0]
        for one, two in zip(weights, found[0][1], strict=True):
            np.testing.assert_array_equal(one, two)


def test_every_call_of_a_shared_layer_counts() -> None:
    """As in ``model.losses``, and so in Keras' training on TensorFlow and PyTorch; on JAX it counts
    the last call alone."""
    shared = layers.Conv2D(SHAPE[-1], 3, padding="same", activity_regularizer="l1")
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, shared(shared(inputs)))
    model.compile("sgd", "mse")
    y = np.ones_like(X)
    difference = np.asarray(model(X)) - y
    penalties = [float(one) for one in model.losses]
    assert len(penalties) == 2
    convmill.accelerate(model)
    found = model.evaluate(X, y, batch_size=len(X), verbose=0)
    assert found == pytest.approx(np.mean(difference**2) + sum(penalties), rel=1e-5)


def test_it_is_told() -> None:
    text = str(convmill.explain(net(models.Sequential)))
    assert text.count("activity regularizer") == 3


def test_an_output_without_a_loss_is_left_to_keras() -> None:
    image = keras.Input(SHAPE)
    flat = layers.Flatten()(image)
    one = layers.Dense(3, name="one", activity_regularizer="l2")(flat)
    model = keras.Model(image, [one, layers.Dense(3, name="other")(flat)])
    model.compile("sgd", [None, "mse"])
    convmill.accelerate(model, strict=True)
    with pytest.raises(convmill.NotCovered, match="activity_regularizer beside an output"):
        model.fit(X, [Y, Y], verbose=0)
