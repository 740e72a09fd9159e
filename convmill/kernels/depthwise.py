"""Depthwise convolutions, each channel by itself: which launches compute them.

The kernels: ``depthwise_forward.py`` and ``depthwise_backward.py``.
"""

from __future__ import annotations

from convmill.kernels import depthwise_backward, depthwise_forward, folding, gating
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.stages import DepthwiseStage


def forward(site: Site[DepthwiseStage]) -> list[Launch]:
    """y = activation(convolution(x) + bias)."""
    stage = site.stage
    read = (value(stage.input), of_matrix("parameter", stage.kernel), *folding.reads(stage))
    written = (value(stage.output),)
    return [Launch("depthwise.forward", site.of, Images(), read, written)]


def backward(site: Site[DepthwiseStage]) -> list[Launch]:
    """The gradient before the activation, in place, and the gradient of x."""
    stage, launches = site.stage, gating.gated(site)
    if site.gradients.input:
        read = (gradient(stage.output), of_matrix("parameter", stage.kernel))
        written, room = (gradient(stage.input),), depthwise_backward.room_size(stage, site.lanes)
        launches.append(
            Launch("depthwise.input_gradient", site.of, Images(), read, written, scratch=room)
        )
    return launches


def weight_gradient(site: Site[DepthwiseStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage = site.stage
    over = Shares(stage.input.channels, site.lanes)
    read = (value(stage.input), gradient(stage.output))
    written = tuple(of_matrix("gradient_of", index) for index in stage.parameters)
    work = stage.taps * stage.output.values
    return [Launch("depthwise.weight_gradient", site.of, over, read, written, work)]


def words(stage: DepthwiseStage) -> str:
    """What is computed."""
    text = f"depthwise {'x'.join(map(str, stage.kernel_size))}"
    name = stage.activation.name
    return text if name == "linear" else f"{text} + {name}"


def tiles(stage: DepthwiseStage) -> str:
    """Register tiles."""
    assert stage.choice is not None
    text, sums = f"{stage.choice.columns} places", stage.choice.sums
    return text if sums is None else f"{text}; dW {sums} taps"


OPERATION = Operation(
    prepare=folding.prepare,
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "depthwise.forward": depthwise_forward.forward,
        "depthwise.input_gradient": depthwise_backward.input_gradient,
        "depthwise.weight_gradient": depthwise_backward.weight_gradient,
        **gating.KERNELS,
    },
    words=words,
    tiles=tiles,
)
