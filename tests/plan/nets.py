"""Small models that the tests of reading share."""

from __future__ import annotations

from typing import Any

import keras

IMAGE = (8, 9, 2)


def sequential(*stack: Any, shape: tuple[int | None, ...] = IMAGE) -> keras.Sequential:
    """A Sequential model of these layers on images of ``shape``."""
    return keras.Sequential([keras.Input(shape), *stack])
