"""The stages of a convolution of any form.

    Conv2D, relu       =>  [convolution relu]
    DepthwiseConv2D    =>  [depthwise]
    Conv2DTranspose    =>  [transposed]
    SeparableConv2D    =>  [depthwise] -> [convolution 1x1]
"""

from __future__ import annotations

from dataclasses import replace

from convmill.lower.stages import ConvolutionStage, DepthwiseStage, Stage, TransposedStage
from convmill.lower.subgrids import beyond, subgrids
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import Convolution, Separable
from convmill.plan.graph.shapes import Border


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
    border = border_around(operation, read, written)
    windows = (operation.kernel_size, operation.strides, border, operation.dilation)
    shared = ((number,), read.padded(border), written, *weights, *windows)
    if operation.transposed:
        return TransposedStage(*shared, cut=(operation.padding[0], operation.padding[2]))
    if operation.depthwise:
        return DepthwiseStage(*shared)
    return ConvolutionStage(*shared, groups=operation.groups)


def border_around(operation: Convolution | Separable, read: Tensor, written: Tensor) -> Border:
    """The border of zeros that a convolution wants around what it reads.

    A transposed one is a convolution read from the other side: its places look beyond the input.
    """
    if isinstance(operation, Separable):
        return operation.depthwise.padding
    if not operation.transposed:
        return operation.padding
    border: list[int] = []
    sizes = ((read.height, written.height), (read.width, written.width))
    for axis, (source, target) in enumerate(sizes):
        window = (operation.kernel_size[axis], operation.strides[axis], operation.dilation[axis])
        border += beyond(subgrids(target, *window, operation.padding[2 * axis]), source)
    return border[0], border[1], border[2], border[3]
