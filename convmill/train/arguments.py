"""Checks of the arguments of fit, evaluate and predict.

Keras takes many of these silently; each raises one ``ValueError`` that ends in "Received: ...".
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convmill.whole import check_whole

_GIVES = ("__iter__", "__getitem__", "get_jax_iterator")  # what streams, and Keras' adapters, have


def optional_whole(name: str, value: Any, least: int) -> int | None:
    """``value`` as an int of at least ``least``, or None."""
    return None if value is None else check_whole(name, value, least)


def epochs(epochs: Any, initial_epoch: Any) -> tuple[int, int]:
    """The number of epochs and the epoch to begin with, which may be behind the last one."""
    return check_whole("epochs", epochs, 0), check_whole("initial_epoch", initial_epoch, 0)


def validation_split(value: Any) -> float:
    """A share from 0 up to, not including, 1."""
    if not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise ValueError(
            "validation_split must be a number from 0 up to, not including, 1. "
            f"Received: validation_split={value!r}"
        )
    return float(value)


def validation_freq(value: Any) -> Any:
    """A number of epochs, or the list of epochs after which to validate."""
    if isinstance(value, list | tuple | set):
        for epoch in value:
            check_whole("validation_freq", epoch, 1)
        return list(value)
    return check_whole("validation_freq", value, 1)


def shuffle(value: Any) -> Any:
    """True, False or "batch"."""
    if isinstance(value, str) and value != "batch":
        raise ValueError(f'shuffle must be True, False or "batch". Received: shuffle={value!r}')
    return value if value == "batch" else bool(value)


def batches(name: str, value: Any) -> None:
    """ValueError unless ``value``, which is no array, may give batches."""
    if isinstance(value, str | bytes) or not any(hasattr(value, each) for each in _GIVES):
        raise ValueError(
            f"{name} must be arrays, or give batches, as a PyDataset or a generator does. "
            f"Received: {name} of type {type(value).__name__}"
        )


def validation_data(value: Any) -> tuple[Any, Any, Any]:
    """Images, targets and weights, None where there are none; images may give batches of all."""
    if isinstance(value, list | tuple) and not 1 <= len(value) <= 3:
        raise ValueError(
            "validation_data must be (x, y), (x, y, sample_weight), or give batches. "
            f"Received: {len(value)} of them"
        )
    unpacked: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(value)
    return unpacked


def callbacks(value: Any) -> list[Any]:
    """Keras' callbacks: None, one, or a nested list of them."""
    if isinstance(value, keras.callbacks.CallbackList):
        return list(value.callbacks)
    listed = keras.tree.flatten(value) if value else []
    if not all(hasattr(one, "set_model") for one in listed):
        raise ValueError(f"callbacks must be a list of Keras' callbacks. Received: {value!r}")
    return listed


def verbosity(value: Any) -> int:
    """0, 1 or 2; "auto" is 1."""
    if value == "auto":
        return 1
    if value not in (0, 1, 2):
        raise ValueError(f'verbose must be "auto", 0, 1 or 2. Received: verbose={value!r}')
    return int(value)
