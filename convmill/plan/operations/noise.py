"""What changes values in training alone: dropout, noise, images that are augmented."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from convmill.plan.graph import LINEAR, Activate, Augment, Dropout, Noise, Operation
from convmill.plan.operations.layout import is_channels_last
from convmill.plan.operations.parameters import Parameters
from convmill.plan.walk import Call

_NOTHING = Activate(LINEAR)  # what does nothing has no seed in Keras


def _dropout(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    if layer.rate == 0:
        return _NOTHING
    seed = parameters.dropout(layer)
    return Dropout(float(layer.rate), seed, *_together(call, layer.noise_shape))


def _spatial(call: Call, parameters: Parameters) -> Operation:
    """Whole maps fall: all axes but the channels'."""
    if call.layer.rate == 0:
        return _NOTHING
    rank = len(call.shape)
    last = is_channels_last(call.layer)
    places = range(-rank, -1) if last else range(1 - rank, 0)
    return Dropout(float(call.layer.rate), parameters.dropout(call.layer), tuple(places))


def _together(call: Call, noise_shape: Any) -> tuple[tuple[int, ...], bool]:
    """The axes along which values fall together, and whether all images of a batch do."""
    if noise_shape is None:
        return (), False
    batch, *axes = noise_shape
    rank = len(call.shape)
    shared = (axis - rank for axis, size in enumerate(axes) if size == 1)
    return tuple(axis for axis in shared if call.shape[axis] != 1), batch == 1


def _gaussian_noise(call: Call, parameters: Parameters) -> Operation:
    deviation = float(call.layer.stddev)
    return Noise("sum", deviation, parameters.dropout(call.layer)) if deviation else _NOTHING


def _gaussian_dropout(call: Call, parameters: Parameters) -> Operation:
    rate = float(call.layer.rate)
    if rate == 0:
        return _NOTHING
    deviation = math.sqrt(rate / (1 - rate)) if rate < 1 else math.inf
    return Noise("product", deviation, parameters.dropout(call.layer))


def _alpha_dropout(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    if layer.rate == 0:
        return _NOTHING
    seed = parameters.dropout(layer)
    return Noise("alpha", float(layer.rate), seed, *_together(call, layer.noise_shape))


def _augmentation(call: Call, parameters: Parameters) -> Operation:
    return Augment()


TABLE = {
    layers.Dropout: _dropout,
    layers.SpatialDropout1D: _spatial,
    layers.SpatialDropout2D: _spatial,
    layers.SpatialDropout3D: _spatial,
    layers.GaussianNoise: _gaussian_noise,
    layers.GaussianDropout: _gaussian_dropout,
    layers.AlphaDropout: _alpha_dropout,
    layers.RandomFlip: _augmentation,
    layers.RandomRotation: _augmentation,
    layers.RandomTranslation: _augmentation,
    layers.RandomZoom: _augmentation,
    layers.RandomContrast: _augmentation,
    layers.RandomBrightness: _augmentation,
}
