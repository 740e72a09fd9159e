"""Small models that the tests of reading share."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from convmill.lower.machine import TARGETS

IMAGE = (8, 9, 2)
MACHINE = TARGETS["avx512"]


def sequential(*stack: Any, shape: tuple[int | None, ...] = IMAGE) -> keras.Sequential:
    """A Sequential model of these layers on images of ``shape``."""
    return keras.Sequential([keras.Input(shape), *stack])


def notebook() -> keras.Sequential:
    return sequential(
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
        shape=(28, 28, 1),
    )


def unpooled() -> keras.Sequential:
    """The notebook's control: its convolutions, nothing pooled between them."""
    convolutions = [layers.Conv2D(filters, 3, activation="relu") for filters in (32, 64, 64)]
    return sequential(*convolutions, shape=(28, 28, 1))
