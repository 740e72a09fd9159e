"""A small net that the tests of training share."""

from __future__ import annotations

import keras
from keras import layers


def net(units: int = 3) -> keras.Sequential:
    """A convolution and a dense layer of ``units`` on 4x4 images: four weights."""
    return keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(units)]
    )
