"""Which models take pixels 0..255, by the numbers of their scaling layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.pixels import reads_bytes


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
