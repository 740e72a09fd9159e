"""Random graphs of layers: strides, dilation, padding, branches, models in models.

And what is to be found of a model, by other ways than ours.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import keras
import numpy as np
from keras import layers

from convmill.design.steps import Step

LARGE = 1e9
CHANGED = 1.01  # times what it was: more than rounding


def graph(random: Random) -> keras.Model:
    """A functional model of up to five steps on one small image, ending in a map."""
    image = keras.Input((random.randint(5, 11), random.randint(5, 11), random.randint(1, 2)))
    tensor = image
    for _ in range(random.randint(1, 5)):
        tensor = random.choice(_STEPS)(random, tensor)
    return keras.Model(image, tensor)


def perturb(model: keras.Model) -> np.ndarray:
    """Which pixels reach which units of the last map: bool (height, width, rows, columns).

    Each pixel in turn is made so large that, all weights being positive, whatever reads it grows.
    """
    for weight in model.weights:
        weight.assign(np.abs(weight.numpy()) + 0.1)
    height, width, channels = model.inputs[0].shape[1:]
    pixels = np.arange(height * width)
    images = np.ones((len(pixels) + 1, height, width, channels), "float32")
    images[pixels, pixels // width, pixels % width] = LARGE
    *changed, plain = model.predict_on_batch(images)
    return (np.asarray(changed) > plain * CHANGED).reshape(height, width, *plain.shape).any(axis=-1)


def taps(model: keras.Model, step: Step, read: tuple[int, ...]) -> int:
    """Multiply-adds of a layer with weights or windows: those that each value of its output takes.

    ``read`` is the shape of what it reads.
    """
    layer = model.get_layer(step.name)
    values = math.prod(step.shape)
    if isinstance(layer, layers.SeparableConv2D):
        depth = read[-1] * layer.depth_multiplier
        height, width = layer.kernel_size
        return math.prod(step.shape[:2]) * depth * height * width + values * depth
    if isinstance(layer, layers.Conv2DTranspose):
        return math.prod(read) * layer.filters * math.prod(layer.kernel_size)
    if isinstance(layer, layers.DepthwiseConv2D):
        return values * math.prod(layer.kernel_size)
    if isinstance(layer, layers.Conv2D):
        return values * math.prod(layer.kernel_size) * read[-1] // layer.groups
    if isinstance(layer, layers.Dense):
        return values * read[-1]
    return values * math.prod(layer.pool_size)


def _height_width(tensor: Any) -> tuple[int, int]:
    return tuple(tensor.shape[1:3])


def _window(random: Random, tensor: Any, *, dilated: bool) -> dict[str, Any]:
    """Arguments of windows that fit: strides or dilation, as Keras allows only one of them."""
    size = tuple(random.randint(1, min(4, extent)) for extent in _height_width(tensor))
    padding = random.choice(("valid", "same"))
    arguments: dict[str, Any] = {"size": size, "padding": padding, "strides": (1, 1)}
    if dilated and random.random() < 0.5:
        most = 3 if padding == "same" else None
        arguments["dilation_rate"] = tuple(
            random.randint(1, most or max((extent - 1) // max(width - 1, 1), 1))
            for width, extent in zip(size, _height_width(tensor), strict=True)
        )
    else:
        arguments["strides"] = (random.randint(1, 3), random.randint(1, 3))
    return arguments


def _square(arguments: dict[str, Any], key: str) -> dict[str, Any]:
    """Depthwise strides must be equal along both axes."""
    return arguments | {key: (arguments[key][0], arguments[key][0])}


def _convolution(random: Random, tensor: Any) -> Any:
    arguments = _window(random, tensor, dilated=True)
    return layers.Conv2D(random.randint(1, 2), arguments.pop("size"), **arguments)(tensor)


def _depthwise(random: Random, tensor: Any) -> Any:
    arguments = _square(_window(random, tensor, dilated=False), "strides")
    make = random.choice((_depth, _separable))
    return make(arguments)(tensor)


def _depth(arguments: dict[str, Any]) -> Any:
    return layers.DepthwiseConv2D(arguments.pop("size"), depth_multiplier=2, **arguments)


def _separable(arguments: dict[str, Any]) -> Any:
    return layers.SeparableConv2D(3, arguments.pop("size"), **arguments)


def _pooling(random: Random, tensor: Any) -> Any:
    arguments = _window(random, tensor, dilated=False)
    make = random.choice((layers.MaxPooling2D, layers.AveragePooling2D))
    return make(arguments.pop("size"), **arguments)(tensor)


def _transposed(random: Random, tensor: Any) -> Any:
    size, strides = random.randint(1, 4), random.randint(1, 2)
    padding = random.choice(("valid", "same"))
    return layers.Conv2DTranspose(2, size, strides=strides, padding=padding)(tensor)


def _moved(random: Random, tensor: Any) -> Any:
    padding = [(random.randint(0, 2), random.randint(0, 2)) for _ in range(2)]
    if min(_height_width(tensor)) > 4 and random.random() < 0.5:
        return layers.Cropping2D(padding)(tensor)
    return layers.ZeroPadding2D(padding)(tensor)


def _upsampling(random: Random, tensor: Any) -> Any:
    factors = (random.randint(1, 3), random.randint(1, 3))
    interpolation = random.choice(("nearest", "bilinear"))
    return layers.UpSampling2D(factors, interpolation=interpolation)(tensor)


def _pointwise(random: Random, tensor: Any) -> Any:
    make = random.choice(_POINTWISE)
    return make()(tensor)


def _branches(random: Random, tensor: Any) -> Any:
    """Paths of other sizes and dilations, and perhaps the shortcut, brought together."""
    paths = [
        layers.Conv2D(
            tensor.shape[-1],
            random.randint(1, 4),
            dilation_rate=random.randint(1, 2),
            padding="same",
        )(tensor)
        for _ in range(random.randint(1, 2))
    ]
    merge = random.choice((layers.Add, layers.Maximum, layers.Concatenate))
    return merge()([*paths, tensor])


def _shifted(random: Random, tensor: Any) -> Any:
    """Each channel shifted by what the whole map holds."""
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(tensor)
    return layers.Add()([tensor, layers.Dense(tensor.shape[-1])(squeezed)])


def _nested(random: Random, tensor: Any) -> Any:
    image = keras.Input(tensor.shape[1:])
    inner = keras.Model(image, _pooling(random, _convolution(random, image)))
    return inner(tensor)


_POINTWISE = (layers.ReLU, layers.BatchNormalization, lambda: layers.Dense(2))
_STEPS = (
    _convolution,
    _convolution,
    _depthwise,
    _pooling,
    _pooling,
    _transposed,
    _moved,
    _upsampling,
    _pointwise,
    _branches,
    _branches,
    _shifted,
    _nested,
)
