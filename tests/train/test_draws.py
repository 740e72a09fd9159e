"""Layers whose call draws random numbers by itself, in training and outside it: a variational
autoencoder."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import convmill
from convmill.plan.read import read
from convmill.plan.refusals import NotCovered
from tests.train.nets import assert_same_history, assert_same_state, seeded_fit

X = np.random.default_rng(0).random((24, 4, 4, 1), "float32")


class Sampling(layers.Layer):
    """A code from its mean and its logarithm of the variance, which it draws near to normal."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(7)
        self.mean, self.deviation = mean, deviation

    def call(self, inputs: Any) -> Any:
        mean, variance = inputs
        inside = 1 + variance - ops.square(mean) - ops.exp(variance)
        self.add_loss(-0.5 * ops.mean(ops.sum(inside, axis=-1)))
        drawn = keras.random.normal(
            (ops.shape(mean)[0], ops.shape(mean)[1]),
            self.mean,
            self.deviation,
            seed=self.seed_generator,
        )
        return mean + ops.exp(0.5 * variance) * drawn


def autoencoder(*arguments: float) -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input((4, 4, 1))
    x = layers.Flatten()(layers.Conv2D(3, 3, strides=2, activation="relu")(image))
    code = Sampling(*arguments)([layers.Dense(2)(x), layers.Dense(2)(x)])
    x = layers.Reshape((2, 2, 3))(layers.Dense(12, activation="relu")(code))
    decoded = layers.Conv2DTranspose(1, 2, strides=2, activation="sigmoid")(x)
    model = keras.Model(image, decoded)
    model.compile("sgd", "binary_crossentropy")
    return model


def test_what_is_drawn_is_trained_through() -> None:
    """Numbers of no deviation are Keras' own."""
    ours = convmill.accelerate(autoencoder(0.5, 0.0), strict=True)
    theirs = autoencoder(0.5, 0.0)
    assert_same_history(*(seeded_fit(model, X, X, epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs)
    found, expected = (model.predict(X, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-5)


class Distance(layers.Layer):
    """Adds to the loss how far a picture is from another one."""

    def call(self, pictures: Any) -> Any:
        one, other = pictures
        self.add_loss(ops.mean(ops.sum(ops.square(one - other), axis=(1, 2, 3))))
        return other


def test_what_layers_add_may_be_all_of_the_loss() -> None:
    """Labels are not asked for."""
    found = []
    for _ in range(2):
        coder = autoencoder(0.5, 0.0)
        model = keras.Model(coder.inputs[0], Distance()([coder.inputs[0], coder.outputs[0]]))
        model.compile("sgd")
        found.append(model)
    ours, theirs = convmill.accelerate(found[0], strict=True), found[1]
    assert_same_history(*(seeded_fit(model, X[:16], epochs=2) for model in (ours, theirs)), 5e-5)
    assert_same_state(ours, theirs)
    found, expected = (each.evaluate(X[:16], batch_size=16, verbose=0) for each in (ours, theirs))
    assert found == pytest.approx(expected, rel=1e-5)


def test_other_numbers_each_time_and_the_same_for_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2):
        model = convmill.accelerate(autoencoder(), threads=threads, strict=True)
        seeded_fit(model, X, X, epochs=2)
        predicted = [model.predict(X, verbose=0) for _ in range(3)]
        assert not np.array_equal(predicted[0], predicted[1])
        assert not np.array_equal(predicted[1], predicted[2])
        uses = int(model.layers[-4].seed_generator.state.numpy()[1])
        assert uses == 4 + 3
        found.append((model.get_weights(), predicted))
    for one, other in zip(*map(keras.tree.flatten, found), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_numbers_are_spread_as_asked(kind: str) -> None:
    generator = keras.random.SeedGenerator(1)
    draw = getattr(keras.random, kind)
    image = keras.Input((3, 5))
    given = layers.Lambda(lambda x: x + draw(ops.shape(x), 1.0, 3.0, seed=generator))(image)
    model = convmill.accelerate(keras.Model(image, given), strict=True)
    values = model.predict(np.zeros((4000, 3, 5), "float32"), verbose=0)
    mean, deviation = (1.0, 3.0) if kind == "normal" else (2.0, 2 / 12**0.5)
    assert values.mean() == pytest.approx(mean, abs=0.05)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    rows = values.reshape(-1, 5)
    assert np.abs(np.corrcoef(rows.T) - np.eye(5)).max() < 0.05
    if kind == "uniform":
        assert values.min() >= 1
        assert values.max() < 3


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_numbers_that_images_share_are_refused(shape: tuple[int, ...]) -> None:
    generator = keras.random.SeedGenerator(1)
    image = keras.Input((4,))
    drawn = layers.Lambda(lambda x: x + keras.random.normal(shape, seed=generator))
    with pytest.raises(NotCovered, match="in a way that no graph tells"):
        read(keras.Model(image, drawn(image)))
