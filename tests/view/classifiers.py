"""Tiny classifiers whose outputs are known, and what a picture holds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def echo(classes: int) -> keras.Model:
    """A model whose outputs are its inputs, (n, classes)."""
    inputs = keras.Input((classes,))
    return keras.Model(inputs, keras.layers.Activation("linear")(inputs))


def echo_images(size: int, classes: int) -> keras.Model:
    """A model of images (size, size, 1) whose outputs are the first pixels."""
    inputs = keras.Input((size, size, 1))
    row = keras.layers.Flatten()(inputs)
    first = keras.layers.Dense(classes, use_bias=False)
    model = keras.Model(inputs, first(row))
    first.set_weights([np.eye(size * size, classes)])
    return model


def drawn(probabilities: np.ndarray, size: int) -> np.ndarray:
    """Images (n, size, size, 1) that ``echo_images`` gives these probabilities for."""
    images = np.zeros((len(probabilities), size * size), np.float32)
    images[:, : probabilities.shape[1]] = probabilities
    return images.reshape(-1, size, size, 1)


def random_case(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (count, classes) and labels that follow them."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.3), count).astype(np.float32)
    chances = probabilities.astype(np.float64)
    chances /= chances.sum(axis=1, keepdims=True)
    return probabilities, np.array([random.choice(classes, p=row) for row in chances])


def texts(picture) -> list[str]:
    """Everything that is written in a picture, after it is laid out."""
    picture.canvas.draw()
    return [each.get_text() for each in picture.findobj(lambda artist: hasattr(artist, "get_text"))]


def boxes(picture) -> list[tuple[str, Any]]:
    """What can be seen of it, with the box that each stands in, in pixels."""
    picture.canvas.draw()
    every = picture.findobj(lambda artist: hasattr(artist, "get_text"))
    written = [each for each in every if each.get_text() and each.get_visible()]
    return [(each.get_text(), each.get_window_extent()) for each in written]
