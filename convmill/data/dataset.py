"""What every loader of this package returns, and the one error it raises."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.finite import check_finite

Array = NDArray[Any]

# The most that one file of unknown content may unpack to.
OWN_DATA_LIMIT = 4 << 30


class DataError(RuntimeError):
    """Data is missing or wrong. The message says what, what was tried, and how to mend it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, divided into a training part and a test part.

    Attributes:
        name: the name or the path that it was loaded by.
        x_train, x_test: images, (n, height, width) or (n, height, width, channels): uint8 of 0 to
            255, but for an .npz file of the user's, whose integers or floats stay as they are.
        y_train, y_test: integer labels from 0, (n,).
        class_names: one name for each class, in the order of the labels.
        source: where the data came from, for people to read.

    Raises:
        DataError: shapes, dtypes or labels are others than these, or a value of an image is not
            finite.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        for part, x, y in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
        ):
            where = f"{self.source}, {part} part"
            _check_part(where, x, y, len(self.class_names))
            _check_finite(where, x, f"x_{part}")
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.source}: training and test images differ in size.\n"
                f"Received: {self.x_train.shape[1:]} and {self.x_test.shape[1:]}."
            )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, channels)."""
        return tuple(self.x_train.shape[1:])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels), as models take images."""
        shape = self.image_shape
        return shape if len(shape) == 3 else (*shape, 1)

    @property
    def fingerprint(self) -> str:
        """What tells these images and labels from others that go by the same name: SHA-256."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _check_part(where: str, x: Array, y: Array, classes: int) -> None:
    if x.ndim not in (3, 4) or 0 in x.shape or x.dtype.kind not in "uif":
        raise DataError(
            f"{where}: the images must be numbers of shape (n, height, width) or "
            f"(n, height, width, channels), none of them 0.\n"
            f"Received: shape {x.shape}, {x.dtype}."
        )
    if y.shape != (len(x),) or y.dtype.kind not in "ui":
        raise DataError(
            f"{where}: there must be one integer label for each of the {len(x)} images.\n"
            f"Received: shape {y.shape}, {y.dtype}."
        )
    odd = np.flatnonzero((y < 0) | (y >= classes))
    if odd.size:
        raise DataError(
            f"{where}: labels must lie in 0..{classes - 1}.\n"
            f"Received: label {y[odd[0]]} at index {odd[0]}."
        )


def _check_finite(where: str, x: Array, name: str) -> None:
    try:
        check_finite(x, name)
    except ValueError as error:
        raise DataError(f"{where}: {error}.") from error


def every_fifth_for_test(labels: Array) -> tuple[Array, Array]:
    """Divides n samples 4:1 without chance and with all classes in proportion (within one sample).

    The samples are sorted by label (stable); every fifth one, from the first, is for the test.

    Args:
        labels: integers, (n,).

    Returns:
        (train, test): indices, each in rising order.
    """
    by_label = np.argsort(labels, kind="stable")
    for_test = np.zeros(len(labels), dtype=bool)
    for_test[by_label[::5]] = True
    return np.flatnonzero(~for_test), np.flatnonzero(for_test)
