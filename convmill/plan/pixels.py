"""In which range a model reads pixels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# A layer that takes bytes divides them by 127.5 or 255, or takes a mean of dozens away; one that
# takes 0..1 does neither.
LARGEST_BYTE_SCALE = 0.1
LARGEST_UNIT_MEAN = 1.0


def reads_bytes(model: Any) -> bool:
    """Whether ``model``, or a model inside it, has a layer that brings pixels 0..255 to a smaller
    range: a ``Rescaling`` of a scale below 0.1, or a ``Normalization`` of a mean above 1.
    """
    return any(
        _takes_bytes(layer) or (hasattr(layer, "layers") and reads_bytes(layer))
        for layer in model.layers
    )


def _takes_bytes(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.any(np.abs(_numbers(layer.scale)) < LARGEST_BYTE_SCALE))
    if isinstance(layer, keras.layers.Normalization):
        mean = getattr(layer, "mean", None)  # None before it is built
        return mean is not None and bool(np.any(_numbers(mean) > LARGEST_UNIT_MEAN))
    return False


def _numbers(value: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)
