"""Convolutions with bias, activation and max pooling: which launches compute them, and how.

The kernels: ``direct.py`` and ``winograd.py`` forward, ``live.py`` and ``narrow.py`` backward.
"""

from __future__ import annotations

from convmill.kernels import direct, live, narrow, winograd
from convmill.kernels.direct import maxima
from convmill.kernels.operation import Operation, Site
from convmill.lower.choices import Direct, Narrow, Winograd
from convmill.lower.launches import (
    Images,
    Launch,
    Shares,
    gradient,
    live_lists,
    of_matrix,
    value,
)
from convmill.lower.stages import ConvolutionStage


def forward(site: Site[ConvolutionStage]) -> list[Launch]:
    """y = maxpool(activation(convolution(x) + bias)); in training the maxima's places are kept."""
    stage = site.stage
    assert stage.choice is not None
    choice = stage.choice.forward
    kernel, copy, scratch = "direct.forward", "pack", 0
    if isinstance(choice, Winograd):
        kernel, copy = "winograd.forward", "transform"
        scratch = winograd.scratch(stage, choice, site.lanes)
    bias = () if stage.bias is None else (of_matrix("parameter", stage.bias),)
    kept = (maxima(stage),) if stage.pooled and site.gradients.output else ()
    return [
        Launch(
            kernel,
            site.of,
            Images(),
            (value(stage.input), of_matrix(copy, stage.kernel), *bias),
            (value(stage.output), *kept),
            scratch=scratch,
        )
    ]


def backward(site: Site[ConvolutionStage]) -> list[Launch]:
    """Lists of live places, where a gradient runs along them, and the gradient of x."""
    stage = site.stage
    assert stage.choice is not None
    if not stage.choice.lists:
        return []
    lists, kept = live_lists(stage.output), (maxima(stage),) if stage.pooled else ()
    read = (value(stage.output), gradient(stage.output), *kept)
    launches = [Launch("live.places", site.of, Images(), read, lists)]
    if stage.choice.input_gradient is not None:
        read = (of_matrix("parameter", stage.kernel), *lists)
        written = (gradient(stage.input),)
        launches.append(Launch("live.input_gradient", site.of, Images(), read, written))
    return launches


def weight_gradient(site: Site[ConvolutionStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage = site.stage
    assert stage.choice is not None
    if isinstance(stage.choice.weight_gradient, Narrow):
        kept = (maxima(stage),) if stage.pooled else ()
        kernel, over = "narrow", Shares(stage.output.channels, site.lanes)
        read = (value(stage.input), value(stage.output), gradient(stage.output), *kept)
    else:
        kernel, over = "live", Shares(stage.output.channels)
        read = (value(stage.input), *live_lists(stage.output))
    written = tuple(of_matrix("gradient_of", index) for index in stage.parameters)
    work = stage.taps * stage.output.channels * stage.places
    return [Launch(f"{kernel}.weight_gradient", site.of, over, read, written, work)]


def words(stage: ConvolutionStage) -> str:
    """What is computed."""
    parts = [f"conv {'x'.join(map(str, stage.kernel_size))}"]
    if stage.dilation != (1, 1):
        parts[0] += f" dilated {'x'.join(map(str, stage.dilation))}"
    if stage.groups > 1:
        parts[0] += f" in {stage.groups} groups"
    if stage.activation.name != "linear":
        parts.append(stage.activation.name)
    if stage.pooled:
        parts.append(f"max {'x'.join(map(str, stage.pool))}")
    return " + ".join(parts)


def tiles(stage: ConvolutionStage) -> str:
    """Algorithms and register tiles."""
    assert stage.choice is not None
    match stage.choice.forward:
        case Direct() as tile:
            places = tile.rows * tile.windows * stage.pool[0] * stage.pool[1]
            parts = [f"{places} places x {tile.vectors}"]
        case Winograd() as tile:
            parts = [f"Winograd {tile.tiles} tiles x {tile.vectors}"]
    chunk = stage.choice.input_gradient
    if isinstance(stage.choice.weight_gradient, Narrow):
        parts.append(f"dW {stage.choice.weight_gradient.taps} taps")
    elif stage.choice.weight_gradient is not None:
        both = "dX dW" if chunk is not None else "dW"
        chunk = stage.choice.weight_gradient
        parts.append(f"{both} {chunk.rows} rows x {chunk.vectors}")
    elif chunk is not None:
        parts.append(f"dX {chunk.rows} rows x {chunk.vectors}")
    return "; ".join(parts)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "direct.forward": direct.forward,
        "winograd.forward": winograd.forward,
        "live.places": live.places,
        "live.input_gradient": live.input_gradient,
        "live.weight_gradient": live.weight_gradient,
        "narrow.weight_gradient": narrow.weight_gradient,
    },
    words=words,
    tiles=tiles,
)
