"""Convolutions with bias, activation and max pooling: which launches compute them, and how.

The kernels: ``direct.py`` and ``winograd.py`` forward; ``live.py``, ``placed.py``,
``everywhere.py``, ``narrow.py``, ``winograd.py`` and ``winograd_weights.py`` backward.
"""

from __future__ import annotations

from convmill.kernels import (
    biases,
    direct,
    everywhere,
    folding,
    gating,
    live,
    narrow,
    placed,
    winograd,
    winograd_copies,
    winograd_tiles,
    winograd_weights,
)
from convmill.kernels.direct import maxima
from convmill.kernels.operation import Operation, Site
from convmill.lower.choices import (
    Direct,
    Gathered,
    Live,
    Narrow,
    Outer,
    Placed,
    Winograd,
    WinogradWeights,
)
from convmill.lower.launches import (
    Images,
    Launch,
    Shares,
    Slot,
    gradient,
    live_lists,
    of_matrix,
    value,
)
from convmill.lower.stages import ConvolutionStage
from convmill.lower.winograd import points_bytes


def forward(site: Site[ConvolutionStage]) -> list[Launch]:
    """y = maxpool(activation(convolution(x) + bias)); in training the maxima's places are kept."""
    stage = site.stage
    assert stage.choice is not None
    choice = stage.choice.forward
    kernel, copy, over, scratch = "direct.forward", "pack", Images(), 0
    if isinstance(choice, Winograd):
        kernel, copy, over = "winograd.forward", "transform", Images(together=choice.images)
        sizes = (stage.input.channels, stage.output.channels, stage.computed[1])
        scratch = winograd_tiles.scratch(choice, *sizes, site.lanes)
    kept = (maxima(stage),) if stage.pooled and site.gradients.output else ()
    return [
        Launch(
            kernel,
            site.of,
            over,
            (value(stage.input), of_matrix(copy, stage.kernel), *folding.reads(stage)),
            (value(stage.output), *kept),
            scratch=scratch,
        )
    ]


def backward(site: Site[ConvolutionStage]) -> list[Launch]:
    """Gradients before the activation, or lists of the live ones, and the gradient of x."""
    stage = site.stage
    assert stage.choice is not None
    choice, lists = stage.choice.input_gradient, live_lists(stage.output)
    read: tuple[Slot, ...] = (gradient(stage.output),)
    launches = list[Launch]()
    if stage.choice.lists:
        kept = (maxima(stage),) if stage.pooled else ()
        looked_at = (value(stage.output), gradient(stage.output), *kept)
        launches.append(Launch("live.places", site.of, Images(), looked_at, lists))
    everywhere_ = (Gathered, Winograd, Outer, WinogradWeights)
    gated = isinstance(choice, everywhere_) or isinstance(stage.choice.weight_gradient, everywhere_)
    if gated:
        launches += gating.gated(site)
    weights, over, scratch = of_matrix("parameter", stage.kernel), Images(), 0
    match choice:
        case None:
            return launches
        case Live():
            kernel, read = "live", lists
        case Placed():
            kernel, scratch = "placed", placed.scratch(stage)
            read += () if gated else (value(stage.output),)
        case Gathered():
            kernel, scratch = "everywhere", everywhere.room_size(stage)
        case Winograd():
            kernel, weights = "winograd", of_matrix("turned", stage.kernel)
            over = Images(together=choice.images)
            scratch = winograd.back_scratch(stage, choice, site.lanes)
    written = (gradient(stage.input),)
    name = f"{kernel}.input_gradient"
    launches.append(Launch(name, site.of, over, (weights, *read), written, scratch=scratch))
    return launches


def weight_gradient(site: Site[ConvolutionStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage = site.stage
    assert stage.choice is not None
    filters = stage.output.channels
    written = tuple(of_matrix("gradient_of", index) for index in stage.parameters)
    work, scratch, sums = stage.taps * filters * stage.places, 0, 0
    match stage.choice.weight_gradient:
        case Narrow() as tile:
            kept = (maxima(stage),) if stage.pooled else ()
            kernel, over = "narrow", Shares(filters, site.lanes)
            scratch = narrow.scratch(stage, tile, site.lanes)
            read = (value(stage.input), value(stage.output), gradient(stage.output), *kept)
        case Outer() as tile:
            kernel, over = "everywhere", Shares(filters, tile.filters)
            read, written = (value(stage.input), gradient(stage.output)), written[:1]
        case WinogradWeights() as tile:
            kernel, over = "winograd", Shares(filters, tile.filters)
            read = (value(stage.input), gradient(stage.output))
            scratch = winograd_weights.scratch(stage, tile, site.lanes)
            sums = points_bytes(tile.filtering, (stage.input.channels, filters))
        case _:
            kernel, over = "live", Shares(filters)
            read = (value(stage.input), *live_lists(stage.output))
    name = f"{kernel}.weight_gradient"
    launch = Launch(name, site.of, over, read, written, work, scratch=scratch, sums=sums)
    return [launch, *(biases.gradients(site) if kernel == "everywhere" else [])]


def words(stage: ConvolutionStage) -> str:
    """What is computed."""
    parts = [f"conv {'x'.join(map(str, stage.kernel_size))}"]
    if stage.dilation != (1, 1):
        parts[0] += f" dilated {'x'.join(map(str, stage.dilation))}"
    if stage.groups > 1:
        parts[0] += f" in {stage.groups} groups"
    if stage.folded is not None:
        parts.append("batch normalization")
    if stage.activation.name != "linear":
        parts.append(stage.activation.name)
    if stage.pooled:
        parts.append(f"max {'x'.join(map(str, stage.pool))}")
    return " + ".join(parts)


def _beside(taps: int) -> str:
    """What is said of taps that lie beside each other in a vector."""
    return f", {taps} taps each" if taps > 1 else ""


def tiles(stage: ConvolutionStage) -> str:
    """Algorithms and register tiles."""
    assert stage.choice is not None
    match stage.choice.forward:
        case Direct() as tile:
            places = tile.rows * tile.windows * stage.pool[0] * stage.pool[1]
            parts = [f"{places} places x {tile.vectors}{_beside(tile.taps)}"]
        case Winograd() as tile:
            parts = [_winograd(tile)]
    for words, chunk in (
        ("dX", stage.choice.input_gradient),
        ("dW", stage.choice.weight_gradient),
    ):
        match chunk:
            case Narrow():
                parts.append(f"{words} {chunk.sums} sums{_beside(chunk.taps)}")
            case Live():
                parts.append(f"{words} {chunk.rows} rows x {chunk.vectors}")
            case Placed():
                parts.append(f"{words} by place, {chunk.rows} rows x {chunk.vectors}")
            case Gathered():
                parts.append(f"{words} {chunk.places} places x {chunk.vectors}")
            case Winograd():
                parts.append(f"{words} {_winograd(chunk)}")
            case WinogradWeights():
                size = f"{chunk.filters_at_once} filters x {chunk.vectors}"
                parts.append(f"{words} {chunk.filtering}, {size}")
            case Outer():
                size = f"{chunk.filters} filters x {chunk.rows * chunk.vectors}"
                parts.append(f"{words} {size}")
    both = [part.split(" ", 1) for part in parts[1:]]
    if len(both) == 2 and both[0][1] == both[1][1]:
        parts[1:] = [f"dX dW {both[0][1]}"]
    return "; ".join(parts)


def _winograd(tile: Winograd) -> str:
    return f"{tile.filtering}, {tile.tiles} tiles x {tile.vectors}"


OPERATION = Operation(
    prepare=folding.prepare,
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "direct.forward": direct.forward,
        "winograd.forward": winograd.forward,
        "winograd.input_gradient": winograd.input_gradient,
        "winograd.weight_gradient": winograd_weights.weight_gradient,
        "winograd.weights": winograd_copies.transform_weights,
        "winograd.turned_weights": winograd_copies.turn_weights,
        "live.places": live.places,
        "live.input_gradient": live.input_gradient,
        "live.weight_gradient": live.weight_gradient,
        "placed.input_gradient": placed.input_gradient,
        "narrow.weight_gradient": narrow.weight_gradient,
        "everywhere.input_gradient": everywhere.input_gradient,
        "everywhere.weight_gradient": everywhere.weight_gradient,
        **biases.KERNELS,
        **gating.KERNELS,
        **folding.KERNELS,
    },
    words=words,
    tiles=tiles,
)
