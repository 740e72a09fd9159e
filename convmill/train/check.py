"""Checks of data before a step. What Keras lets pass silently would here be read outside a buffer.

Each check either passes or raises one ``ValueError`` that says where, what was received and what
would work.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from convmill.finite import LARGEST


def numbers(array: np.ndarray, argument: str) -> None:
    """Whether an array holds real numbers."""
    dtype = array.dtype
    if dtype.kind not in "buif" and str(dtype) != "bfloat16":
        kinds = {"c": "complex numbers", "O": "objects", "U": "text", "S": "text"}
        raise ValueError(
            f"{argument} must hold real numbers, not {kinds.get(dtype.kind, 'other things')}. "
            f"Received: {argument} of dtype {dtype}, shape {array.shape}"
        )


def lengths(named: Mapping[str, np.ndarray]) -> None:
    """Whether arrays, by what they are called, hold something, and equally many."""
    for name, array in named.items():
        if array.ndim == 0 or len(array) == 0:
            raise ValueError(
                f"{name} must hold at least one image's worth. "
                f"Received: {name} of shape {array.shape}"
            )
    counts = {name: len(array) for name, array in named.items()}
    if len(set(counts.values())) > 1:
        received = ", ".join(f"{name} of length {count}" for name, count in counts.items())
        raise ValueError(
            f"{' and '.join(counts)} must have the same number of samples. Received: {received}"
        )


def class_indices(y: np.ndarray, classes: int, argument: str = "y", first: int = 0) -> None:
    """Whether every label is a whole number from 0 to ``classes - 1``.

    ``first`` is the number of the first row among all, for errors to name.
    """
    if y.dtype.kind == "f":
        whole = y == np.floor(y)  # False for NaN; infinities fail below
        if not whole.all():
            _bad_label(y, whole, classes, argument, first)
    if not (y.min() >= 0 and y.max() < classes):
        _bad_label(y, (y >= 0) & (y < classes), classes, argument, first)


def _bad_label(y: np.ndarray, good: np.ndarray, classes: int, argument: str, first: int) -> None:
    bad = np.argwhere(~good)[0]
    place = ", ".join(map(str, (first + int(bad[0]), *map(int, bad[1:]))))
    raise ValueError(
        f"{argument} must hold class indices, whole numbers from 0 to {classes - 1}, as the model "
        f"has {classes} outputs{' at each place' if y.ndim > 1 else ''}. "
        f"Received: {argument}[{place}] = {y[tuple(bad)]}"
    )


def class_weights(y: np.ndarray, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each image, float32 (n,), from the weight of its class; 1 where it has none.

    The class is the position of the largest value where y is one-hot, else y itself, rounded. Keys
    that are no whole number are passed over, as Keras does, with a warning.

    Raises:
        ValueError: ``class_weight`` is no dict, or a weight in it is no finite number.
    """
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "class_weight must be a dict from class index to weight. "
            f"Received: class_weight={class_weight!r}"
        )
    warn_of_keys(class_weight)
    if y.ndim > 1 and y.shape[-1] != 1:
        classes = np.argmax(y, axis=-1)
    else:
        with np.errstate(invalid="ignore"):  # what is no number belongs to no class
            classes = np.round(y.reshape(len(y), -1)[:, 0]).astype(np.int32)
    if classes.ndim != 1:
        raise ValueError(
            f"class_weight needs one class for each image. Received: y of shape {y.shape}"
        )
    present, places = np.unique(classes, return_inverse=True)
    weights = np.array([_class_weight(class_weight, int(label)) for label in present])
    return weights.astype(np.float32)[places]


def warn_of_keys(class_weight: Mapping[Any, float]) -> None:
    """Says which keys no label can be equal to."""
    odd = [repr(key) for key in class_weight if not _is_index(key)]
    if odd:
        warnings.warn(
            "class_weight must be a dict from class index to weight, such as {0: 1.0}; other keys "
            f"are passed over, as Keras does. Received: class_weight with the key {', '.join(odd)}",
            stacklevel=2,
        )


def _is_index(key: Any) -> bool:
    try:
        return bool(int(key) == key)
    except (TypeError, ValueError, OverflowError):
        return False


def _class_weight(class_weight: Mapping[int, float], label: int) -> float:
    """The weight of one class. ValueError where it is no finite number."""
    weight = class_weight.get(label, 1.0)
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = float("nan")
    if not abs(number) <= LARGEST:
        raise ValueError(
            f"class_weight must hold finite numbers. Received: class_weight[{label}] = {weight!r}"
        )
    return number
