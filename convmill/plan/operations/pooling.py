"""Pooling over windows and over whole images."""

from __future__ import annotations

import math
from typing import Literal

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.operations import (
    AdaptivePooling,
    Opaque,
    Operation,
    Pooling,
    PoolingKind,
    Reduce,
)
from convmill.plan.operations.layout import from_last, image, pair
from convmill.plan.operations.parameters import Parameters
from convmill.plan.windows import adaptive_spans, border_of, values_read

_MAX = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
_GLOBAL_MAX = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)

_ADAPTIVE_MAX = (
    layers.AdaptiveMaxPooling1D,
    layers.AdaptiveMaxPooling2D,
    layers.AdaptiveMaxPooling3D,
)


def _pooling(call: Call, parameters: Parameters) -> Operation:
    """In space places are not looked into."""
    layer = call.layer
    kind: PoolingKind = "max" if isinstance(layer, _MAX) else "average"
    if not call.channels_last or len(layer.pool_size) > 2:
        work = math.prod(call.shape) * math.prod(layer.pool_size)
        return Opaque("pooling", work, pooling=kind)
    size, strides = pair(layer.pool_size), pair(layer.strides)
    padding = border_of(layer.padding, image(call.read[0]), size, strides)
    return Pooling(kind, size, strides, padding)


def _global_pooling(call: Call, parameters: Parameters) -> Operation:
    """Without keepdims the shape written is (channels,)."""
    layer = call.layer
    kind: PoolingKind = "max" if isinstance(layer, _GLOBAL_MAX) else "average"
    if not call.channels_last or len(call.read[0]) > 3:
        return Opaque("pooling", math.prod(call.read[0]), pooling=kind, sees_all=True)
    return _over_image(call, kind, "share" if kind == "max" else "first")


def _adaptive(call: Call, parameters: Parameters) -> Operation:
    """Windows of unlike sizes, as many as are asked for."""
    kind: PoolingKind = "max" if isinstance(call.layer, _ADAPTIVE_MAX) else "average"
    last = call.channels_last
    if last and len(call.shape) == 3:
        return AdaptivePooling(kind)
    read, written = (shape[:-1] if last else shape[1:] for shape in (call.read[0], call.shape))
    axes = [adaptive_spans(*axis) for axis in zip(read, written, strict=True)]
    work = call.shape[-1 if last else 0] * math.prod(map(values_read, axes))
    return Opaque("pooling", work, pooling=kind, sees_all=max(written) == 1)


def _over_image(call: Call, kind: PoolingKind, ties: Literal["first", "share"]) -> Pooling:
    whole = pair(call.read[0][:-1])
    return Pooling(kind, whole, whole, (0, 0, 0, 0), ties, over_image=True)


def _reduction(call: Call, parameters: Parameters) -> Operation:
    """keras.ops.sum, mean, max or min along axes; the mean or the maximum over all places of a map
    together is pooling."""
    rank, kind = len(call.read[0]), _REDUCTIONS[type(call.layer).__name__]
    axes = from_last(call.layer.axis, rank)
    if axes is None or rank > 3 or getattr(call.layer, "initial", None) is not None:
        return Opaque()
    if axes == {2: (-2,), 3: (-3, -2)}.get(rank) and kind in ("mean", "max"):
        is_max = kind == "max"
        return _over_image(call, "max" if is_max else "average", "share" if is_max else "first")
    return Reduce(kind, axes)


_REDUCTIONS: dict[str, Literal["sum", "mean", "max", "min"]] = {
    "Sum": "sum",
    "Mean": "mean",
    "Max": "max",
    "Amax": "max",
    "Min": "min",
    "Amin": "min",
}


TABLE = {
    layers.MaxPooling1D: _pooling,
    layers.MaxPooling2D: _pooling,
    layers.MaxPooling3D: _pooling,
    layers.AveragePooling1D: _pooling,
    layers.AveragePooling2D: _pooling,
    layers.AveragePooling3D: _pooling,
    layers.GlobalMaxPooling1D: _global_pooling,
    layers.GlobalMaxPooling2D: _global_pooling,
    layers.GlobalMaxPooling3D: _global_pooling,
    layers.GlobalAveragePooling1D: _global_pooling,
    layers.GlobalAveragePooling2D: _global_pooling,
    layers.GlobalAveragePooling3D: _global_pooling,
    layers.AdaptiveMaxPooling1D: _adaptive,
    layers.AdaptiveMaxPooling2D: _adaptive,
    layers.AdaptiveMaxPooling3D: _adaptive,
    layers.AdaptiveAveragePooling1D: _adaptive,
    layers.AdaptiveAveragePooling2D: _adaptive,
    layers.AdaptiveAveragePooling3D: _adaptive,
}
OPERATIONS = dict.fromkeys(_REDUCTIONS, _reduction)
