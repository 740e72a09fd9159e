"""Images brought to another size with the numbers that Keras gives, not those of Pillow.

Pillow smooths what it makes smaller and rounds to whole numbers. `tf.image.resize`, behind
`keras.utils.image_dataset_from_directory`, and `keras.ops.image.resize` do neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convmill.data.dataset import Array


@dataclass(frozen=True)
class Kernel:
    """How much a pixel counts, by its distance; nothing beyond ``radius`` pixels."""

    radius: int
    weight: Callable[[Array], Array]


def _triangle(distance: Array) -> Array:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(distance: Array) -> Array:
    """Keys' cubic with a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


def _lanczos(radius: int) -> Kernel:
    def weight(distance: Array) -> Array:
        inside = np.sinc(distance) * np.sinc(distance / radius)
        return np.where(distance < radius, inside, 0.0)

    return Kernel(radius, weight)


KERNELS = {
    "bilinear": Kernel(1, _triangle),
    "bicubic": Kernel(2, _cubic),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
INTERPOLATIONS = ("nearest", *KERNELS)


def resized(image: Array, size: tuple[int, int], interpolation: str) -> Array:
    """``image``, (height, width, channels), in another size; ``interpolation`` is one of
    INTERPOLATIONS.

    Returns:
        (*size, channels): float32, or the image's own dtype where no number is a mean of others.
    """
    for axis in (0, 1):
        if image.shape[axis] == size[axis]:
            continue
        if interpolation == "nearest":
            image = image.take(_nearest(image.shape[axis], size[axis]), axis)
        else:
            image = _blended(image, axis, size[axis], KERNELS[interpolation])
    return image


def cropped(image: Array, size: tuple[int, int]) -> Array:
    """The largest part of an image that has the proportions of ``size``, from its middle."""
    height, width = image.shape[:2]
    tall = max(min(height, int(width * size[0] / size[1])), 1)
    wide = max(min(width, int(height * size[1] / size[0])), 1)
    top, left = (height - tall) // 2, (width - wide) // 2
    return image[top : top + tall, left : left + wide]


def padded(image: Array, size: tuple[int, int]) -> Array:
    """An image amid as much black as it takes to have the proportions of ``size``."""
    height, width = image.shape[:2]
    top = max(int(width * size[0] / size[1]) - height, 0) // 2
    left = max(int(height * size[1] / size[0]) - width, 0) // 2
    return np.pad(image, ((top, top), (left, left), (0, 0)))


def _centres(length: int, wanted: int) -> Array:
    """Where the centres of the new pixels lie, counted in old pixels from their first edge."""
    return (np.arange(wanted) + 0.5) * (length / wanted)


def _nearest(length: int, wanted: int) -> Array:
    return np.minimum(np.floor(_centres(length, wanted)).astype(np.int64), length - 1)


def _blended(image: Array, axis: int, wanted: int, kernel: Kernel) -> Array:
    """Each new pixel of an axis as the weighted mean of the old ones around it."""
    length = image.shape[axis]
    centres = _centres(length, wanted) - 0.5
    first = np.floor(centres).astype(np.int64) - kernel.radius + 1
    places = first[:, np.newaxis] + np.arange(2 * kernel.radius)
    weights = kernel.weight(np.abs(centres[:, np.newaxis] - places))
    weights[(places < 0) | (places >= length)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    along = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: Array = np.zeros((), dtype=np.float32)
    for place, weight in zip(places.T, weights.T.astype(np.float32), strict=True):
        total = total + image.take(place.clip(0, length - 1), axis) * weight.reshape(along)
    return total
