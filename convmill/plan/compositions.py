"""Operations of Keras that others, which are compiled, express: read as what these compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from keras import layers, ops

from convmill.plan.written import is_keras_class

_MOST_FACTORS = 8  # of a power that is written out as products


def composed(operation: Any, *given: Any, **named: Any) -> Any:
    """The outputs of ``operation`` on symbols, made of other operations; None where nothing that is
    known says the same."""
    compose = _COMPOSITIONS.get(type(operation).__name__)
    if compose is None or not is_keras_class(type(operation)):
        return None
    try:
        return compose(operation, *given, **named)
    except (TypeError, ValueError):  # what Keras itself could not do on symbols
        return None


def _glu(operation: Any, x: Any) -> Any:
    size, axis = x.shape[operation.axis], operation.axis % len(x.shape)
    if axis == 0 or size % 2:
        return None
    first, second = (_slice(x, axis, at, at + size // 2) for at in (0, size // 2))
    return first * ops.sigmoid(second)


def _slice(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(*(slice(None),) * axis, slice(start, stop))]


def _split(operation: Any, x: Any) -> Any:
    axis, given = operation.axis % len(x.shape), operation.indices_or_sections
    if axis == 0:
        return None
    size = x.shape[axis]
    if isinstance(given, int):
        given = range(size // given, size, size // given)
    ends = [0, *given, size]
    if ends != sorted(ends) or ends[-2] > size:
        return None
    return [_slice(x, axis, *pair) for pair in pairwise(ends)]


def _stack(operation: Any, tensors: Sequence[Any]) -> Any:
    axis = operation.axis % (len(tensors[0].shape) + 1)
    if axis == 0:
        return None
    return ops.concatenate([ops.expand_dims(one, axis) for one in tensors], axis=axis)


def _swapped(operation: Any, x: Any) -> Any:
    order = list(range(len(x.shape)))
    one, other = operation.axis1, operation.axis2
    order[one], order[other] = order[other], order[one]
    return ops.transpose(x, order)


def _moved(operation: Any, x: Any) -> Any:
    rank = len(x.shape)
    both = operation.source, operation.destination
    source, goal = ([axis % rank for axis in each] for each in both)
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(goal, source, strict=True)):
        order.insert(place, axis)
    return ops.transpose(x, order)


def _variance(operation: Any, x: Any) -> Any:
    away = x - ops.mean(x, axis=operation.axis, keepdims=True)
    return ops.mean(ops.square(away), axis=operation.axis, keepdims=operation.keepdims)


def _deviation(operation: Any, x: Any) -> Any:
    return ops.sqrt(_variance(operation, x))


def _log_of_sum(operation: Any, x: Any) -> Any:
    axes = operation.axis
    top = ops.max(x, axis=axes, keepdims=True)
    found = ops.log(ops.sum(ops.exp(x - top), axis=axes, keepdims=True)) + top
    return found if operation.keepdims else ops.squeeze(found, axes)


def _clip(operation: Any, x: Any) -> Any:
    low, high = operation.x_min, operation.x_max
    if not all(isinstance(one, int | float) for one in (low, high)):
        return None
    return ops.minimum(ops.maximum(x, float(low)), float(high))


def _power(operation: Any, x: Any, exponent: Any) -> Any:
    if not isinstance(exponent, int | float) or not 2 < exponent <= _MOST_FACTORS:
        return None
    if exponent != int(exponent):
        return None
    return math.prod([x] * (int(exponent) - 1), start=x)


def _pad(operation: Any, x: Any, constant_values: Any = None) -> Any:
    width = operation.pad_width
    if operation.mode != "constant" or constant_values not in (None, 0, 0.0):
        return None
    if len(x.shape) != 4 or len(width) != 4 or any(width[0]) or any(width[3]):
        return None
    return layers.ZeroPadding2D(tuple(map(tuple, width[1:3])), name="zero_padding")(x)


def _pooled(kind: Any) -> Callable[..., Any]:
    def compose(operation: Any, x: Any) -> Any:
        if len(x.shape) != 4:
            return None
        size, strides, padding = operation.pool_size, operation.strides, operation.padding
        return kind(size, strides, padding, operation.data_format, name="pooling")(x)

    return compose


def _dot(layer: Any, tensors: Sequence[Any]) -> Any:
    """Of two vectors."""
    if layer.normalize or any(len(one.shape) != 2 for one in tensors):
        return None
    return ops.sum(tensors[0] * tensors[1], axis=-1, keepdims=True)


_COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "Glu": _glu,
    "Split": _split,
    "Stack": _stack,
    "Swapaxes": _swapped,
    "Moveaxis": _moved,
    "Var": _variance,
    "Std": _deviation,
    "Logsumexp": _log_of_sum,
    "Clip": _clip,
    "Power": _power,
    "Pad": _pad,
    "MaxPool": _pooled(layers.MaxPooling2D),
    "AveragePool": _pooled(layers.AveragePooling2D),
    "Dot": lambda operation, *given: _dot(operation, *given) if len(given) == 1 else None,
}
