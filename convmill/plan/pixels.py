"""In which range a model reads pixels: as the user says, as its own layers tell, or 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.plan.functional import nodes
from convmill.plan.written import is_keras_class

# A layer that takes bytes divides them by 127.5 or 255, or takes a mean of dozens away; one that
# takes 0..1 does neither.
LARGEST_BYTE_SCALE = 0.1
LARGEST_UNIT_MEAN = 1.0
BYTES = (0.0, 255.0)
# Classes of the operations that Keras makes of arithmetic on what a model reads.
DIVISIONS, ADDITIONS = {"Divide", "TrueDivide"}, {"Add", "Subtract"}
ARITHMETIC = {*DIVISIONS, *ADDITIONS, "Multiply"}

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PixelRange:
    """The darkest and the brightest pixel that a model reads, of shape () or (channels,).

    ``origin``: the user gave it, the model's own layers told it, or it is assumed.
    """

    low: Array
    high: Array
    origin: Literal["given", "told", "assumed"]

    @property
    def span(self) -> Array:
        """From the darkest to the brightest."""
        return np.asarray(self.high - self.low)

    def scaled(self, unit: NDArray[Any]) -> Array:
        """Pixels of 0..1, (..., channels) or of any shape where the range is one for all, brought
        to this range."""
        return (self.low + self.span * unit).astype(np.float32)


def pixel_range(model: Any, given: Any = None, channels: int = 1) -> PixelRange:
    """The range of the pixels of ``channels`` that ``model`` reads.

    Args:
        given: (lowest, highest): two numbers, or two lists of one for each channel; None goes by
            the model's layers: 0 to 255 where ``reads_bytes``, else 0 to 1.

    Raises:
        ValueError: ``given`` is no such pair.
    """
    if given is not None:
        return _checked(given, channels)
    told = reads_bytes(model)
    low, high = (np.asarray(end, np.float32) for end in (BYTES if told else (0, 1)))
    return PixelRange(low, high, "told" if told else "assumed")


def _checked(given: Any, channels: int) -> PixelRange:
    problem = ValueError(
        "pixels must be the lowest and the highest value of a pixel: two numbers, as (-1, 1), or "
        f"two lists of {channels} numbers, one for each channel. Received: pixels={given!r}"
    )
    if isinstance(given, str):  # NumPy would read digits as numbers
        raise problem
    try:
        with np.errstate(all="ignore"):  # what is too large is infinite, and refused
            low, high = (np.asarray(end, np.float32) for end in given)
            whole = high - low
    except (TypeError, ValueError, OverflowError):
        raise problem from None
    fits = all(end.shape in ((), (channels,)) for end in (low, high))
    if not fits or not np.all(np.isfinite(whole) & (whole > 0)):
        raise problem
    return PixelRange(low, high, "given")


def reads_bytes(model: Any) -> bool:
    """Whether ``model``, or a model inside it, brings pixels 0..255 to a smaller range: by a
    ``Rescaling`` of a scale below 0.1, a ``Normalization`` of a mean above 1, or by such
    arithmetic on what it reads, as ``x / 127.5 - 1``.
    """
    return any(
        _takes_bytes(layer) or (hasattr(layer, "layers") and reads_bytes(layer))
        for layer in model.layers
    ) or any(_scales_bytes(name, number) for name, number in _arithmetic(model))


def _takes_bytes(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.any(np.abs(_numbers(layer.scale)) < LARGEST_BYTE_SCALE))
    if isinstance(layer, keras.layers.Normalization):
        mean = getattr(layer, "mean", None)  # None before it is built
        return mean is not None and bool(np.any(_numbers(mean) > LARGEST_UNIT_MEAN))
    return False


def _scales_bytes(operation: str, number: Any) -> bool:
    largest = np.max(np.abs(_numbers(number)), initial=0)
    if operation in DIVISIONS:
        return bool(largest > 1 / LARGEST_BYTE_SCALE)
    if operation in ADDITIONS:
        return bool(largest > LARGEST_UNIT_MEAN)
    return bool(0 < largest < LARGEST_BYTE_SCALE)


def _arithmetic(model: Any) -> Iterator[tuple[str, Any]]:
    """Arithmetic with numbers between what the model reads and its first layer, by the class of the
    operation, as ("TrueDivide", 255.0)."""
    early = {id(tensor) for tensor in getattr(model, "inputs", None) or ()}
    for node in nodes(model):
        if isinstance(node.operation, keras.Layer) or not all(
            id(tensor) in early for tensor in node.input_tensors
        ):
            continue
        early |= {id(tensor) for tensor in node.output_tensors}
        name = type(node.operation).__name__
        if name in ARITHMETIC and is_keras_class(type(node.operation)):
            given = (one for one in node.arguments.args if not isinstance(one, keras.KerasTensor))
            yield from ((name, number) for number in given)


def _numbers(value: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)
