"""Small models whose pictures are drawn, and images for them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

SHAPE = (9, 8, 2)
_BIASES = keras.initializers.RandomNormal(seed=5)  # a fixed seed: the same values each time


def chain(*stack: Any, shape: tuple[int | None, ...] = SHAPE, seed: int = 3) -> keras.Sequential:
    """A Sequential model of these layers, the same weights each time."""
    return with_weights(keras.Sequential([keras.Input(shape), *stack], name="net"), seed)


def with_weights(model: keras.Model, seed: int) -> keras.Model:
    """The model with kernels that depend on ``seed`` alone, whenever its layers were made; those
    with an initializer of their own stay as they are."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(getattr(layer, "kernel_initializer", None), keras.initializers.GlorotUniform):
            scale = np.sqrt(2 / np.prod(layer.kernel.shape[:-1]))
            layer.kernel.assign(random.normal(0, scale, layer.kernel.shape))
    return model


def convnet() -> keras.Sequential:
    """Two convolutions, a pooling layer and a classifier."""
    return chain(
        layers.Conv2D(4, 3, activation="relu", bias_initializer=_BIASES, name="see"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Conv2D(3, 2, activation="tanh", padding="same", name="look"),
        layers.Flatten(name="flat"),
        layers.Dense(5, activation="softmax", name="say"),
    )


def branches() -> tuple[keras.Model, dict[str, Any]]:
    """A model with a sum of two branches, and its layers' outputs by name."""
    image = keras.Input(SHAPE)
    left = layers.Conv2D(3, 3, padding="same", activation="relu", name="left")(image)
    right = layers.Conv2D(3, 1, name="right")(image)
    both = layers.Add(name="both")([left, right])
    last = layers.Conv2D(2, 3, strides=2, name="last")(both)
    named = {"left": left, "right": right, "both": both, "last": last}
    return with_weights(keras.Model(image, last, name="branches"), 4), named


def random_images(count: int = 5, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """(count, *shape), float32, from 0 to 1."""
    return np.random.default_rng(7).random((count, *shape)).astype("float32")


def texts(picture: Any) -> str:
    """Everything that is written in a picture, one text a line."""
    found = [text.get_text() for axes in picture.axes for text in axes.texts]
    found += [text.get_text() for text in picture.texts]
    return "\n".join([*found, picture.get_suptitle(), picture.get_supxlabel()])


def drawn(picture: Any, axes: int = 0) -> list[np.ndarray]:
    """The arrays of the images in one of a picture's axes."""
    return [np.asarray(image.get_array()) for image in picture.axes[axes].images]
