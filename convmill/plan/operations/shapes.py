"""Operations that move values: flatten, reshape, pad, crop, turn, repeat; and resampling."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.operations import Activate, Input, Lookup, Opaque, Operation
from convmill.plan.graph.shapes import Border, Pair
from convmill.plan.moves import View, whole
from convmill.plan.operations.layout import from_last
from convmill.plan.operations.parameters import Parameters


def _input(call: Call, parameters: Parameters) -> Operation:
    return Input(call.layer.dtype)


def _flatten(call: Call, parameters: Parameters) -> Operation:
    return Flatten()


def _moved(call: Call, parameters: Parameters) -> Operation:
    """Values are moved, or copied, in a way not looked into."""
    return Opaque("shape", 0)


def _looked_up(call: Call, parameters: Parameters) -> Operation:
    """Rows of a table: nothing is computed."""
    table = parameters.named(call.layer, "embeddings")
    return Opaque("other", 0) if table is None else Lookup(table, call.layer.input_dim)


def _reshape(call: Call, parameters: Parameters) -> Operation:
    """A reshape of Keras' operations may mix images with one another."""
    if math.prod(call.read[0]) != math.prod(call.shape):
        return Opaque("shape", 0)
    return Reshape() if len(call.shape) != 1 else Flatten()


def _pad(call: Call, parameters: Parameters) -> Operation:
    if not call.channels_last:
        return Opaque("shape", 0)
    return Pad(_border(call.layer.padding))


def _crop(call: Call, parameters: Parameters) -> Operation:
    if not call.channels_last:
        return Opaque("shape", 0)
    return Crop(_border(call.layer.cropping))


def _border(given: Any) -> Border:
    """((top, bottom), (left, right)), or (left, right) along one axis."""
    rows, columns = given if isinstance(given[0], (tuple, list)) else ((0, 0), given)
    return (*rows, *columns)


def _upsample(call: Call, parameters: Parameters) -> Operation:
    if not call.channels_last:
        return Opaque("shape", 0)
    return Upsample(tuple(call.layer.size), call.layer.interpolation)


def _upsample_along(call: Call, parameters: Parameters) -> Operation:
    return Upsample((1, call.layer.size), "nearest")


def _resize(call: Call, parameters: Parameters) -> Operation:
    layer, (height, width, _) = call.layer, call.read[0]
    if not call.channels_last:
        return Opaque("shape", 0)
    goal = (layer.height, layer.width)
    if layer.pad_to_aspect_ratio and height * goal[1] != width * goal[0]:
        return Opaque("shape")
    cropping = to_ratio((height, width), goal) if layer.crop_to_aspect_ratio else (0, 0, 0, 0)
    return Resample(layer.interpolation, layer.antialias, cropping)


def to_ratio(size: Pair, goal: Pair) -> Border:
    """What Keras cuts off so that an image has the ratio of ``goal``, by its own roundings."""
    border: list[int] = []
    for axis, other in ((0, 1), (1, 0)):
        kept = max(min(size[axis], int(float(size[other] * goal[axis]) / goal[other])), 1)
        before = int(float(size[axis] - kept) / 2)
        border += [before, size[axis] - kept - before]
    return border[0], border[1], border[2], border[3]


def _permute(call: Call, parameters: Parameters) -> Operation:
    return _view(whole(call.read[0]).permuted([axis - 1 for axis in call.layer.dims]))


def _repeat(call: Call, parameters: Parameters) -> Operation:
    return _view(whole(call.read[0]).inserted(0, call.layer.n))


def _view(view: View) -> Operation:
    return Move((view.copy(),))


def _transpose(call: Call, parameters: Parameters) -> Operation:
    axes = call.layer.axes
    if axes is None or axes[0] != 0:  # images would change places
        return Opaque("shape", 0)
    rank = len(axes)
    return _view(whole(call.read[0]).permuted([axis % rank - 1 for axis in axes[1:]]))


def _flip(call: Call, parameters: Parameters) -> Operation:
    axes = from_last(call.layer.axis, len(call.shape))
    if axes is None:
        return Opaque("shape", 0)
    view = whole(call.read[0])
    for axis in axes:
        view = view.reversed(len(call.shape) + axis)
    return _view(view)


def _get_item(call: Call, parameters: Parameters) -> Operation:
    """``x[:, 1:-1, ..., 0]``: whole images, and of each slices, single places and new axes."""
    key = call.given[1] if isinstance(call.given[1], tuple) else (call.given[1],)
    view, axis = whole(call.read[0]), 0
    named = sum(one is not None and one is not Ellipsis for one in key)
    if not key or not (key[0] is Ellipsis or key[0] == slice(None)):
        return Opaque("shape", 0)
    rest = len(call.read[0]) + 1 - named  # axes that an ellipsis stands for, the batch's included
    for one in key[1:] if key[0] is not Ellipsis else key:
        if one is Ellipsis:
            axis += rest - (key[0] is Ellipsis)
        elif one is None:
            view, axis = view.inserted(axis), axis + 1
        elif isinstance(one, slice):
            view, axis = view.sliced(axis, *one.indices(view.sizes[axis])), axis + 1
        elif isinstance(one, int):
            view = view.picked(axis, one % view.sizes[axis])
        else:
            return Opaque("shape", 0)
    return _view(view) if view.sizes == call.shape else Opaque("shape", 0)


def _identity(call: Call, parameters: Parameters) -> Operation:
    return Activate(LINEAR)


def _cast(call: Call, parameters: Parameters) -> Operation:
    """Whole numbers are float32 as they are read."""
    return Activate(LINEAR) if call.layer.dtype == "float32" else Opaque("activation", 0)


TABLE = {
    layers.InputLayer: _input,
    layers.Flatten: _flatten,
    layers.Reshape: _reshape,
    layers.ZeroPadding2D: _pad,
    layers.Cropping2D: _crop,
    layers.UpSampling2D: _upsample,
    layers.Resizing: _resize,
    layers.Permute: _permute,
    layers.RepeatVector: _repeat,
    layers.ZeroPadding1D: _pad,
    layers.ZeroPadding3D: _moved,
    layers.Cropping1D: _crop,
    layers.Cropping3D: _moved,
    layers.UpSampling1D: _upsample_along,
    layers.UpSampling3D: _moved,
    layers.Embedding: _looked_up,
    layers.Identity: _identity,
    layers.ActivityRegularization: _identity,
}
OPERATIONS = {
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze"), _reshape),
    "Cast": _cast,
    "Transpose": _transpose,
    "Flip": _flip,
    "GetItem": _get_item,
    **dict.fromkeys(("Roll", "Split", "Stack"), _moved),
}
