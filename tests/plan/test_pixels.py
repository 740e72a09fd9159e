"""Which models take pixels 0..255, by the numbers of their scaling layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.pixels import pixel_range, reads_bytes


def adapted(largest: float) -> layers.Normalization:
    layer = layers.Normalization()
    layer.adapt(np.linspace(0, largest, 5 * 4 * 4 * 3, dtype="float32").reshape(5, 4, 4, 3))
    return layer


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda: layers.Rescaling(1 / 255), True),
        (lambda: layers.Rescaling(1 / 127.5, offset=-1), True),
        (lambda: layers.Rescaling([1 / 255] * 3), True),
        (lambda: layers.Rescaling(2.0, offset=-1), False),
        (lambda: layers.Normalization(mean=[124.0, 116.0, 104.0], variance=[1.0] * 3), True),
        (lambda: layers.Normalization(mean=0.5, variance=0.1), False),
        (lambda: adapted(255), True),
        (lambda: adapted(1), False),
        (lambda: layers.Conv2D(2, 3), False),
    ],
)
def test_by_the_scale_or_the_mean(layer, expected):
    model = keras.Sequential([keras.Input((4, 4, 3)), layer()])
    assert reads_bytes(model) is expected
    assert reads_bytes(keras.Sequential([keras.Input((4, 4, 3)), model])) is expected


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [
        (lambda x: x / 255, True),
        (lambda x: x * (1 / 255), True),
        (lambda x: x / 127.5 - 1, True),
        (lambda x: (x - 128) / 128, True),
        (lambda x: 1 - x / 255, True),
        (keras.applications.mobilenet_v2.preprocess_input, True),
        (keras.applications.vgg16.preprocess_input, True),
        (keras.applications.densenet.preprocess_input, True),
        (lambda x: 2 * x - 1, False),
        (lambda x: (x - 0.5) / 0.25, False),
        (lambda x: layers.Conv2D(3, 1)(x) / 255, False),
        (lambda x: x * np.zeros((4, 4, 1), "float32"), False),
        (lambda x: x / layers.GlobalMaxPooling2D(keepdims=True)(x), False),
    ],
)
def test_by_arithmetic_before_the_first_layer(scaled, expected):
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(scaled(image)))
    assert reads_bytes(model) is expected
    assert reads_bytes(keras.Sequential([keras.Input((4, 4, 3)), model])) is expected


def test_a_model_without_a_graph_tells_nothing():
    class Own(keras.Model):
        """A model whose call is Python."""

        def call(self, inputs):
            return inputs / 255

    assert not reads_bytes(Own())
    assert not reads_bytes(keras.Sequential([layers.Conv2D(2, 3)]))


@pytest.mark.parametrize(
    ("layer", "given", "expected"),
    [
        (layers.Rescaling(1 / 255), None, (0, 255, "told")),
        (layers.Rescaling(2), None, (0, 1, "assumed")),
        (layers.Rescaling(1 / 255), (-1, 1), (-1, 1, "given")),
        (layers.Rescaling(2), ([-1, -2, -3], 4), ([-1, -2, -3], 4, "given")),
    ],
)
def test_the_range_and_where_it_comes_from(layer, given, expected):
    found = pixel_range(keras.Sequential([keras.Input((4, 4, 3)), layer]), given, 3)
    low, high, origin = expected
    np.testing.assert_array_equal(found.low, low)
    np.testing.assert_array_equal(found.high, high)
    assert found.origin == origin
    np.testing.assert_array_equal(found.scaled(np.zeros((2, 4, 4, 3))), np.ones((2, 4, 4, 3)) * low)
    np.testing.assert_array_equal(found.scaled(np.ones((2, 4, 4, 3))), np.ones((2, 4, 4, 3)) * high)
