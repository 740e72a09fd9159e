"""Operations that move values: flatten, reshape, pad, crop, upsample."""

from __future__ import annotations

import math

from keras import layers

from convmill.plan.graph import (
    LINEAR,
    Activate,
    Crop,
    Flatten,
    Input,
    Opaque,
    Operation,
    Pad,
    Reshape,
    Upsample,
)
from convmill.plan.operations.layout import is_channels_last
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call


def _input(call: Call, parameters: Parameters) -> Operation:
    return Input()


def _flatten(call: Call, parameters: Parameters) -> Operation:
    return Flatten()


def _moved(call: Call, parameters: Parameters) -> Operation:
    """Values are moved, or copied, in a way not looked into."""
    return Opaque("shape", 0)


def _looked_up(call: Call, parameters: Parameters) -> Operation:
    """Rows of a table: nothing is computed."""
    return Opaque("other", 0)


def _reshape(call: Call, parameters: Parameters) -> Operation:
    """A reshape of Keras' operations may mix images with one another."""
    if math.prod(call.read[0]) != math.prod(call.shape):
        return Opaque("shape", 0)
    return Reshape() if len(call.shape) != 1 else Flatten()


def _pad(call: Call, parameters: Parameters) -> Operation:
    if not is_channels_last(call.layer):
        return Opaque("shape", 0)
    (top, bottom), (left, right) = call.layer.padding
    return Pad((top, bottom, left, right))


def _crop(call: Call, parameters: Parameters) -> Operation:
    if not is_channels_last(call.layer):
        return Opaque("shape", 0)
    (top, bottom), (left, right) = call.layer.cropping
    return Crop((top, bottom, left, right))


def _upsample(call: Call, parameters: Parameters) -> Operation:
    if not is_channels_last(call.layer):
        return Opaque("shape", 0)
    return Upsample(tuple(call.layer.size), call.layer.interpolation)


def _identity(call: Call, parameters: Parameters) -> Operation:
    return Activate(LINEAR)


TABLE = {
    layers.InputLayer: _input,
    layers.Flatten: _flatten,
    layers.Reshape: _reshape,
    layers.ZeroPadding2D: _pad,
    layers.Cropping2D: _crop,
    layers.UpSampling2D: _upsample,
    layers.Permute: _moved,
    layers.RepeatVector: _moved,
    layers.ZeroPadding1D: _moved,
    layers.ZeroPadding3D: _moved,
    layers.Cropping1D: _moved,
    layers.Cropping3D: _moved,
    layers.UpSampling1D: _moved,
    layers.UpSampling3D: _moved,
    layers.Embedding: _looked_up,
    layers.Identity: _identity,
    layers.ActivityRegularization: _identity,
}
OPERATIONS = {
    "Reshape": _reshape,
    **dict.fromkeys(
        ("ExpandDims", "Squeeze", "Transpose", "Flip", "Roll", "GetItem", "Split", "Stack"), _moved
    ),
}
