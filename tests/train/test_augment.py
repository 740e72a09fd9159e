"""Layers that change images at random train compiled: their seeds, their uses, one epoch or two."""

import numpy as np
import pytest
from keras import layers

from convmill import models
from tests.train.nets import assert_same_state, compiled, images, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images()

pytestmark = pytest.mark.long


def augmenting():
    """A net that flips, turns, zooms and moves images, from seeds."""
    return compiled(
        models.Sequential(
            [
                layers.Input(X.shape[1:]),
                layers.RandomFlip("horizontal", seed=1),
                layers.RandomRotation(0.1, seed=2),
                layers.RandomZoom(0.2, 0.2, seed=3),
                layers.RandomTranslation(0.1, 0.1, seed=4),
                layers.RandomContrast(0.1, value_range=(0, 1), seed=5),
                layers.GaussianNoise(0.01, seed=6),
                layers.Conv2D(4, 3, activation="relu", kernel_initializer="zeros"),
                layers.Flatten(),
                layers.Dense(Y.shape[-1] if Y.ndim > 1 else int(Y.max()) + 1, activation="softmax"),
            ]
        )
    )


def restarted(model, start):
    model.set_weights(start)
    return model


def test_two_epochs_are_one_after_another_and_keras_uses_are_counted():
    once, twice = augmenting(), augmenting()
    weights = [np.random.default_rng(0).normal(0, 0.1, w.shape) for w in once.get_weights()]
    restarted(once, weights)
    restarted(twice, weights)
    seeded_fit(once, X, Y, epochs=2, shuffle=False)
    for _ in range(2):
        seeded_fit(twice, X, Y, shuffle=False)
    assert_same_state(once, twice, tolerance=0)
    uses = [int(layer.generator.state.numpy()[1]) for layer in once.layers[:5]]
    assert uses == [uses[0], uses[0], 2 * uses[0], 2 * uses[0], uses[0]]
    assert uses[0] > 0
    seen = once.predict(X[:4], verbose=0)
    np.testing.assert_array_equal(seen, once.predict(X[:4], verbose=0))
