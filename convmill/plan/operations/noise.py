"""What changes values in training alone: dropout, noise, images that are augmented."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.operations import Activate, Augment, Operation
from convmill.plan.graph.random import Dropout, Erase, Flip, Noise, Tone, ToneKind, Warp, WarpKind
from convmill.plan.operations.parameters import Parameters

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
    last = call.channels_last
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


def _flip(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    if not _is_image(call):
        return Augment()
    rows, columns = "vertical" in layer.mode, "horizontal" in layer.mode
    return Flip(rows, columns, parameters.dropout(layer))


def _rotation(call: Call, parameters: Parameters) -> Operation:
    low, high = call.layer.factor
    return _warp(call, parameters, "rotation", (low, high))


def _zoom(call: Call, parameters: Parameters) -> Operation:
    """Height and width apart, or together."""
    layer = call.layer
    ranges = [(1 + layer.height_lower, 1 + layer.height_upper)]
    if layer.width_factor is not None:
        ranges.append((1 + layer.width_lower, 1 + layer.width_upper))
    return _warp(call, parameters, "zoom", *ranges)


def _translation(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    height = (layer.height_lower, layer.height_upper)
    return _warp(call, parameters, "translation", height, (layer.width_lower, layer.width_upper))


def _shear(call: Call, parameters: Parameters) -> Operation:
    """Forwards or backwards, by the first number."""
    layer = call.layer
    return _warp(call, parameters, "shear", (0, 1), layer.y_factor, layer.x_factor)


def _warp(
    call: Call, parameters: Parameters, kind: WarpKind, *ranges: tuple[float, float]
) -> Operation:
    layer = call.layer
    if not _is_image(call):
        return Augment()
    floats = tuple((float(low), float(high)) for low, high in ranges)
    filled = (layer.interpolation, layer.fill_mode, float(layer.fill_value))
    return Warp(kind, floats, *filled, parameters.dropout(layer))


def _contrast(call: Call, parameters: Parameters) -> Operation:
    low, high = call.layer.factor
    return _tone(call, parameters, "contrast", (1 - low, 1 + high))


def _brightness(call: Call, parameters: Parameters) -> Operation:
    """Keras counts it in shares of the range of values."""
    (low, high), limits = call.layer.factor, call.layer.value_range
    span = limits[1] - limits[0]
    return _tone(call, parameters, "brightness", (low * span, high * span))


def _tone(
    call: Call, parameters: Parameters, kind: ToneKind, range_: tuple[float, float]
) -> Operation:
    if not _is_image(call):
        return Augment()
    low, high = call.layer.value_range
    bounds = (float(range_[0]), float(range_[1]))
    return Tone(kind, bounds, (float(low), float(high)), parameters.dropout(call.layer))


def _erasing(call: Call, parameters: Parameters) -> Operation:
    """A list is Keras' for three channels that come last."""
    layer, fill = call.layer, call.layer.fill_value
    low, high = map(float, layer.value_range)
    if isinstance(fill, (list, tuple)):
        known = len(fill) == 3 and call.shape[-1] == 3 and not call.turned
    else:
        known = fill is None or isinstance(fill, (int, float))
        fill = fill if fill is None else [fill]
    if not _is_image(call) or not known:
        return Augment()
    held = None if fill is None else tuple(min(max(float(one), low), high) for one in fill)
    chances, areas = layer.factor, layer.scale
    ranges = ((float(chances[0]), float(chances[1])), (float(areas[0]), float(areas[1])))
    return Erase(*ranges, held, (low, high), parameters.dropout(layer))


def _is_image(call: Call) -> bool:
    return len(call.shape) == 3 and call.channels_last


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
    layers.RandomFlip: _flip,
    layers.RandomRotation: _rotation,
    layers.RandomTranslation: _translation,
    layers.RandomZoom: _zoom,
    layers.RandomContrast: _contrast,
    layers.RandomBrightness: _brightness,
    layers.RandomErasing: _erasing,
    layers.RandomGrayscale: _augmentation,
    layers.RandomHue: _augmentation,
    layers.RandomSaturation: _augmentation,
    layers.RandomShear: _shear,
}
