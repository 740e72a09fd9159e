"""Scale and shift, by constants or by statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from convmill.plan.graph import Normalize, NormalizeKind, Operation, Rescale
from convmill.plan.operations.layout import from_last
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call


def _rescale(call: Call, parameters: Parameters) -> Operation:
    scale, offset = (np.asarray(value) for value in (call.layer.scale, call.layer.offset))
    if scale.ndim or offset.ndim:
        return Normalize("fixed")
    return Rescale(float(scale), float(offset))


def _batch(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    return Normalize(
        "batch",
        from_last(layer.axis, len(call.shape)),
        epsilon=float(layer.epsilon),
        momentum=float(layer.momentum),
        gamma=parameters.named(layer, "gamma"),
        beta=parameters.named(layer, "beta"),
        mean=parameters.named(layer, "moving_mean", "statistic"),
        variance=parameters.named(layer, "moving_variance", "statistic"),
        frozen=not layer.trainable,
    )


def _layer(call: Call, parameters: Parameters) -> Operation:
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
        gamma=parameters.named(layer, "gamma"),
        beta=parameters.named(layer, "beta"),
    )


def _fixed(call: Call, parameters: Parameters) -> Operation:
    return Normalize("fixed")


TABLE = {
    layers.Rescaling: _rescale,
    layers.BatchNormalization: _batch,
    layers.LayerNormalization: _layer,
    layers.RMSNormalization: _rms,
    layers.GroupNormalization: _group,
    layers.UnitNormalization: _unit,
    layers.Normalization: _fixed,
}
# Layers that keras.applications defines for itself: a factor for each channel.
SCALES = dict.fromkeys(("LayerScale", "CustomScaleLayer"), _fixed)
