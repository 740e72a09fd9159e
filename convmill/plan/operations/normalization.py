"""Scale and shift, by constants or by statistics."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.operations import (
    Affine,
    Normalize,
    NormalizeKind,
    Opaque,
    Operation,
    Rescale,
)
from convmill.plan.operations.layout import from_last, sizes_of
from convmill.plan.operations.parameters import Parameters


def _rescale(call: Call, parameters: Parameters) -> Operation:
    scale, offset = (np.asarray(value) for value in (call.layer.scale, call.layer.offset))
    if scale.ndim or offset.ndim:
        return affine(call, np.zeros(()), scale, offset)
    return Rescale(float(scale), float(offset))


def _normalization(call: Call, parameters: Parameters) -> Operation:
    """Of an adapted layer, or one that was given its mean and variance: as they are now."""
    layer = call.layer
    if layer.mean is None:
        return Normalize("fixed")
    mean, variance = (
        keras.ops.convert_to_numpy(value).astype(np.float64)
        for value in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return affine(call, np.zeros(()), deviation, mean)
    return affine(call, mean, 1 / deviation, np.zeros(()))


def affine(call: Call, *constants: Any) -> Operation:
    """By constants that are broadcast to a batch of images."""
    together = np.broadcast_shapes(*(each.shape for each in constants))
    if len(together) > len(call.shape):  # with an axis for the batch
        together = together[1:] if together[0] == 1 else ()
    sizes = sizes_of(together, call.shape)
    if sizes is None or any(each.size > math.prod(sizes) for each in constants):
        return Normalize("fixed")
    shift, scale, offset = (
        tuple(map(float, np.broadcast_to(each, (1, *together)).ravel())) for each in constants
    )
    return Affine(sizes, shift, scale, offset)


def _batch(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    return Normalize(
        "batch",
        (-1,) if call.turned else from_last(layer.axis, len(call.shape)),
        epsilon=float(layer.epsilon),
        momentum=float(layer.momentum),
        gamma=parameters.named(layer, "gamma"),
        beta=parameters.named(layer, "beta"),
        mean=parameters.named(layer, "moving_mean", "statistic"),
        variance=parameters.named(layer, "moving_variance", "statistic"),
        frozen=not layer.trainable,
    )


def _layer(call: Call, parameters: Parameters) -> Operation:
    if call.layer.rms_scaling:  # deprecated: by the variance, of values that keep their mean
        return Opaque("normalization", math.prod(call.shape))
    return _own(call, parameters, "layer", call.layer.axis)


def _rms(call: Call, parameters: Parameters) -> Operation:
    return _own(call, parameters, "rms", call.layer.axis)


def _group(call: Call, parameters: Parameters) -> Operation:
    return _own(call, parameters, "group", call.layer.axis, groups=call.layer.groups)


def _unit(call: Call, parameters: Parameters) -> Operation:
    return _own(call, parameters, "unit", call.layer.axis)


def _own(
    call: Call, parameters: Parameters, kind: NormalizeKind, axis: Any, groups: int = 1
) -> Normalize:
    """By the image's own statistics."""
    layer = call.layer
    return Normalize(
        kind,
        from_last(axis, len(call.shape)),
        epsilon=float(getattr(layer, "epsilon", 0.0)),
        groups=groups,
        gamma=parameters.named(layer, "scale" if kind == "rms" else "gamma"),
        beta=parameters.named(layer, "beta"),
    )


def _scale(call: Call, parameters: Parameters) -> Operation:
    """A factor for each channel."""
    return Normalize("fixed", gamma=parameters.named(call.layer, "gamma"))


TABLE = {
    layers.Rescaling: _rescale,
    layers.BatchNormalization: _batch,
    layers.LayerNormalization: _layer,
    layers.RMSNormalization: _rms,
    layers.GroupNormalization: _group,
    layers.UnitNormalization: _unit,
    layers.Normalization: _normalization,
}
# Layers that keras.applications defines for itself: a factor for each channel.
SCALES = dict.fromkeys(("LayerScale", "CustomScaleLayer"), _scale)
