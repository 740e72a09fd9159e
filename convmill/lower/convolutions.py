"""The stages of a convolution of any form.

    Conv2D, relu       =>  [convolution relu]
    DepthwiseConv2D    =>  [depthwise]
    SeparableConv2D    =>  [depthwise] -> [convolution 1x1]
"""

from __future__ import annotations

from dataclasses import replace

from convmill.lower.stages import ConvolutionStage, DepthwiseStage, Stage, Tensor
from convmill.plan.graph import Convolution, Separable


def convolution_stages(
    number: int, operation: Convolution | Separable, read: Tensor, written: Tensor, spare: int
) -> list[Stage]:
    """The stages of node ``number``; ``spare`` numbers a buffer that only these know."""
    if isinstance(operation, Separable):
        depthwise, pointwise = operation.depthwise, operation.pointwise
        middle = replace(written, buffer=spare, channels=depthwise.filters)
        return [
            _stage(number, depthwise, read, middle),
            _stage(number, pointwise, middle, written),
        ]
    return [_stage(number, operation, read, written)]


def _stage(number: int, operation: Convolution, read: Tensor, written: Tensor) -> Stage:
    weights = (operation.kernel, operation.bias, operation.activation)
    windows = (operation.kernel_size, operation.strides, operation.padding, operation.dilation)
    shared = ((number,), read.padded(operation.padding), written, *weights, *windows)
    if operation.depthwise:
        return DepthwiseStage(*shared)
    return ConvolutionStage(*shared, groups=operation.groups)
