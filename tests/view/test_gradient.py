"""Gradients with respect to images."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.view.gradient import gradient
from tests.view.nets import chain, convnet, random_images


def test_of_a_dense_layer_it_is_the_kernel():
    model = chain(layers.Flatten(), layers.Dense(3), shape=(4, 5, 1))
    images = random_images(2, (4, 5, 1))
    outputs, found = gradient(model, lambda units: keras.ops.sum(units[:, 1]))(images)
    kernel = model.layers[-1].kernel.numpy()
    np.testing.assert_allclose(found, np.stack([kernel[:, 1].reshape(4, 5, 1)] * 2), rtol=1e-6)
    np.testing.assert_allclose(outputs, model(images), rtol=1e-5)


def test_against_finite_differences():
    model = chain(layers.Conv2D(3, 3, activation="tanh"), layers.Conv2D(2, 2, activation="sigmoid"))
    images = random_images(1)
    _, found = gradient(model, lambda maps: keras.ops.sum(maps[..., 0]))(images)
    step = 1e-2
    for place in [(0, 0, 0), (4, 4, 1), (8, 7, 1)]:
        ends = []
        for sign in (1, -1):
            moved = images.copy()
            moved[(0, *place)] += sign * step
            ends.append(float(np.sum(np.asarray(model(moved))[..., 0], dtype=np.float64)))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert found[(0, *place)] == pytest.approx(expected, rel=2e-2, abs=1e-4)


def test_the_model_runs_as_in_prediction_and_is_left_as_it_is():
    model = chain(layers.BatchNormalization(), layers.Dropout(0.9))
    model.layers[0].moving_mean.assign([5.0, 6.0])
    before = [weight.numpy() for weight in model.weights]
    images = random_images(3)
    outputs, found = gradient(model, keras.ops.sum)(images)
    np.testing.assert_allclose(outputs, model(images, training=False), rtol=1e-5)
    assert np.all(found > 0)  # neither dropped nor centred by the batch's own mean
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_weights_are_read_when_the_gradient_is_made():
    model, images = convnet(), random_images(2)
    before = gradient(model, keras.ops.max)(images)[0]
    model.set_weights([weight * 2 for weight in model.get_weights()])
    after = gradient(model, keras.ops.max)(images)[0]
    np.testing.assert_allclose(after, model(images), rtol=1e-4)
    assert not np.allclose(before, after)


def test_a_backend_without_gradients(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(ValueError, match="Received: backend 'openvino'"):
        gradient(convnet(), keras.ops.sum)


def test_a_model_that_reads_whole_numbers():
    model = keras.Sequential([keras.Input((4, 5, 1), dtype="uint8"), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="Received: Input dtype uint8"):
        gradient(model, keras.ops.sum)


def test_weights_that_are_not_finite():
    model = convnet()
    model.get_layer("see").kernel.assign(np.full((3, 3, 2, 4), np.nan))
    compute = gradient(model, keras.ops.sum)
    with pytest.raises(ValueError, match="NaN or infinity for 2 of 2 images"):
        compute(random_images(2))


def test_a_gradient_that_is_not_finite():
    root = layers.Activation(keras.ops.sqrt)
    compute = gradient(chain(root, shape=(2, 2, 1)), keras.ops.sum)
    with pytest.raises(ValueError, match=r"must have finite gradients.* for 1 of 2 images"):
        compute(np.stack([np.zeros((2, 2, 1), "float32"), np.ones((2, 2, 1), "float32")]))
