"""Layers that cut images out: at random in training, or from the middle. What is smaller than they
want is resized, by Keras' own roundings."""

from __future__ import annotations

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.moves import Crop, Resample
from convmill.plan.graph.operations import Activate, Opaque, Operation
from convmill.plan.graph.random import RandomCrop
from convmill.plan.graph.shapes import Border, Pair
from convmill.plan.operations.parameters import Parameters
from convmill.plan.operations.shapes import to_ratio


def _random_crop(call: Call, parameters: Parameters) -> Operation:
    """An image that is not larger both ways is cut where Keras cuts it, then resized."""
    if not _is_image(call):
        return Opaque("shape", 0)
    size, goal = _sizes(call)
    if not call.training or size == goal:
        return Activate(LINEAR)
    if size[0] > goal[0] and size[1] > goal[1]:
        return RandomCrop(parameters.dropout(call.layer))
    top, _, left, _ = to_ratio(size, goal)
    cut = (top, max(size[0] - goal[0] - top, 0), left, max(size[1] - goal[1] - left, 0))
    return _resized(size, cut, goal)


def _center_crop(call: Call, parameters: Parameters) -> Operation:
    if not _is_image(call):
        return Opaque("shape", 0)
    size, goal = _sizes(call)
    down, across = size[0] - goal[0], size[1] - goal[1]
    if down < 0 or across < 0:
        return _resized(size, to_ratio(size, goal), goal)
    top, left = down // 2, across // 2
    return Crop((top, down - top, left, across - left))


def _resized(size: Pair, cut: Border, goal: Pair) -> Operation:
    """What is left behind ``cut`` in the size ``goal``."""
    top, bottom, left, right = cut
    if (size[0] - top - bottom, size[1] - left - right) == goal:
        return Crop(cut)
    return Resample("bilinear", cropping=cut)


def _sizes(call: Call) -> tuple[Pair, Pair]:
    """Of the image, and those that the layer wants."""
    height, width, _ = call.read[0]
    return (height, width), (call.layer.height, call.layer.width)


def _is_image(call: Call) -> bool:
    return len(call.read) == 1 and len(call.shape) == 3 and call.channels_last


TABLE = {layers.RandomCrop: _random_crop, layers.CenterCrop: _center_crop}
