"""Nets that cut images out at random in training alone: the numbers of Keras at both sizes."""

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from tests.train.nets import assert_same_state, compiled, seeded_fit

pytestmark = pytest.mark.usefixtures("strict")

X = np.random.default_rng(0).random((20, 9, 8, 3)).astype("float32")
Y = np.eye(2, dtype="float32")[np.arange(20) % 2]


def cropping(data_format="channels_last", middle=False):
    """A net that pads and crops, as ResNets are trained on small images."""
    keras.utils.set_random_seed(2)
    options = {"data_format": data_format}
    image = layers.Input(X.shape[1:])
    y = image if data_format == "channels_last" else layers.Permute((3, 1, 2))(image)
    y = layers.ZeroPadding2D(2, **options)(y)
    y = layers.RandomCrop(9, 8, seed=1, **options)(y)
    if middle:
        y = layers.CenterCrop(9, 8, **options)(y)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", **options)(y)
    pool = layers.Flatten() if middle else layers.GlobalAveragePooling2D(**options)
    y = layers.Dense(2, activation="softmax")(pool(y))
    return compiled(keras.Model(image, y))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_outside_training_numbers_are_keras_own(data_format):
    model = cropping(data_format)
    theirs = model.predict(X, verbose=0), model.evaluate(X, Y, verbose=0)
    convmill.accelerate(model, strict=True)
    np.testing.assert_allclose(model.predict(X, verbose=0), theirs[0], atol=1e-6)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), theirs[1], atol=1e-6)


def test_two_epochs_are_one_after_another_whatever_the_threads():
    once, twice = (convmill.accelerate(cropping(middle=True), threads=n) for n in (1, 3))
    history = seeded_fit(once, X, Y, epochs=2, shuffle=False, validation_data=(X, Y))
    for _ in range(2):
        last = seeded_fit(twice, X, Y, shuffle=False, validation_data=(X, Y))
    assert_same_state(once, twice, tolerance=0)
    assert history.history["val_loss"][1] == last.history["val_loss"][0]
    assert history.history["loss"][0] != history.history["loss"][1]
    for model in (once, twice):  # two numbers for each of four steps
        assert model.layers[2].generator.state.numpy()[1] == 8
