"""A tiny data set: lines in three directions."""

from __future__ import annotations

import numpy as np

SIZE = 12
CLASSES = 3


def draw(label: int, place: int) -> np.ndarray:
    """A white line on black, uint8 (SIZE, SIZE): upright, level or slanting, by its class."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    if label == 0:
        image[2:-2, place] = 255
    elif label == 1:
        image[place, 2:-2] = 255
    else:
        image[np.arange(2, SIZE - 2), np.clip(np.arange(2, SIZE - 2) + place - 6, 1, 10)] = 255
    return image


def arrays(copies: int = 4) -> dict[str, np.ndarray]:
    """x_train, y_train, x_test and y_test of lines in three directions."""
    pairs = [(draw(label, place), label) for place in range(2, 10) for label in range(CLASSES)]
    x = np.stack([image for image, _ in pairs])
    y = np.array([label for _, label in pairs], np.uint8)
    return {
        "x_train": np.concatenate([x] * copies),
        "y_train": np.concatenate([y] * copies),
        "x_test": x,
        "y_test": y,
    }
