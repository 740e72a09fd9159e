"""Convolutions: plain, depthwise, separable, transposed."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.operations import Convolution, Opaque, Operation, Separable
from convmill.plan.graph.shapes import Border
from convmill.plan.operations.activations import inside
from convmill.plan.operations.layout import image, pair
from convmill.plan.operations.parameters import Parameters
from convmill.plan.windows import border_of, transposed_cut


def _convolution(call: Call, parameters: Parameters) -> Operation:
    layer, kernel = call.layer, parameters.named(call.layer, "kernel")
    if kernel is None or not call.channels_last:
        return _opaque(call, _places(call, call.shape) * _kernel(layer))
    return Convolution(
        filters=layer.filters,
        kernel_size=pair(layer.kernel_size),
        strides=pair(layer.strides),
        padding=_padding(call),
        activation=inside(call),
        kernel=kernel,
        bias=parameters.named(layer, "bias"),
        dilation=pair(layer.dilation_rate),
        groups=layer.groups,
    )


def _depthwise(call: Call, parameters: Parameters) -> Operation:
    layer, kernel = call.layer, parameters.named(call.layer, "kernel")
    if kernel is None or not call.channels_last:
        return _opaque(call, _places(call, call.shape) * _kernel(layer))
    return _by_depth(call, kernel, parameters.named(layer, "bias"))


def _separable(call: Call, parameters: Parameters) -> Operation:
    layer = call.layer
    depth = parameters.named(layer, "depthwise_kernel")
    point = parameters.named(layer, "pointwise_kernel")
    if depth is None or point is None or not call.channels_last:
        return _opaque(call, _places(call, call.shape) * _kernel(layer))
    pointwise = Convolution(
        filters=layer.filters,
        kernel_size=(1, 1),
        strides=(1, 1),
        padding=(0, 0, 0, 0),
        activation=inside(call),
        kernel=point,
        bias=parameters.named(layer, "bias"),
    )
    return Separable(_by_depth(call, depth, None, LINEAR), pointwise)


def _by_depth(call: Call, kernel: int, bias: int | None, activation: Any = None) -> Convolution:
    """A convolution of each channel by itself."""
    layer, channels = call.layer, call.read[0][-1]
    return Convolution(
        filters=channels * layer.depth_multiplier,
        kernel_size=pair(layer.kernel_size),
        strides=pair(layer.strides),
        padding=_padding(call),
        activation=activation or inside(call),
        kernel=kernel,
        bias=bias,
        dilation=pair(layer.dilation_rate),
        groups=channels,
        depthwise=True,
    )


def _transposed(call: Call, parameters: Parameters) -> Operation:
    """Keras cuts what a transposed convolution spreads; where, it says by its arguments."""
    layer, kernel = call.layer, parameters.named(call.layer, "kernel")
    if kernel is None or not call.channels_last:
        return _opaque(call, _places(call, call.read[0]) * _kernel(layer))
    read, written = image(call.read[0]), image(call.shape)
    strides, dilation = pair(layer.strides), pair(layer.dilation_rate)
    size, extra = pair(layer.kernel_size), (None, *(layer.output_padding or (None, None)))[-2:]
    padding: list[int] = []
    for axis in (0, 1):
        window = (size[axis] - 1) * dilation[axis] + 1
        cut = transposed_cut(window, strides[axis], layer.padding, extra[axis])
        spread = (read[axis] - 1) * strides[axis] + window
        padding += [cut, spread - cut - written[axis]]
    return Convolution(
        filters=layer.filters,
        kernel_size=pair(layer.kernel_size),
        strides=pair(layer.strides),
        padding=(padding[0], padding[1], padding[2], padding[3]),
        activation=inside(call),
        kernel=kernel,
        bias=parameters.named(layer, "bias"),
        dilation=pair(layer.dilation_rate),
        transposed=True,
    )


def _padding(call: Call) -> Border:
    layer = call.layer
    size, dilation = pair(layer.kernel_size), pair(layer.dilation_rate)
    if layer.padding == "causal":  # along one axis: no place sees what comes behind it
        return (0, 0, (size[1] - 1) * dilation[1], 0)
    return border_of(layer.padding, image(call.read[0]), size, pair(layer.strides), dilation)


def _places(call: Call, shape: tuple[int, ...]) -> int:
    """Places of a map, wherever its channels are."""
    channels = shape[-1] if call.channels_last else shape[0]
    return math.prod(shape) // max(channels, 1)


def _kernel(layer: Any) -> int:
    """Weights that one place of the output reads, biases aside."""
    return sum(math.prod(each.shape) for each in layer.weights if "kernel" in each.name)


def _opaque(call: Call, multiply_adds: int) -> Opaque:
    """A convolution of which it is not known what its places read."""
    return Opaque(
        "convolution",
        multiply_adds,
        activation=inside(call),
        adds_bias=bool(call.layer.use_bias),
    )


def _other_axes(call: Call, parameters: Parameters) -> Operation:
    """In space: places are not looked into."""
    return _opaque(call, _places(call, call.shape) * _kernel(call.layer))


def _other_axes_transposed(call: Call, parameters: Parameters) -> Operation:
    return _opaque(call, _places(call, call.read[0]) * _kernel(call.layer))


TABLE = {
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _other_axes,
    layers.DepthwiseConv1D: _depthwise,
    layers.DepthwiseConv2D: _depthwise,
    layers.SeparableConv1D: _separable,
    layers.SeparableConv2D: _separable,
    layers.Conv1DTranspose: _transposed,
    layers.Conv2DTranspose: _transposed,
    layers.Conv3DTranspose: _other_axes_transposed,
}
