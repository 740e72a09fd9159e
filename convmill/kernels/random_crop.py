"""A window cut out of each image in training, at a place that is the same for a whole batch."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.random import Draws
from convmill.lower.launches import SEEDS, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.random import RandomCrop


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = a window of x."""
    read, written = (value(site.stage.input), SEEDS), (value(site.stage.output),)
    return [Launch("random_crop.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x: that of y in the same window, drawn again; zero around it."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output), SEEDS), (gradient(site.stage.input),)
    return [Launch("random_crop.backward", site.of, Images(), read, written)]


def words(stage: PlainStage) -> str:
    """What is computed."""
    return "random crop"


def write_forward(k: Kernel) -> None:
    """y = a window of x, row by row."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    _rows(k, lambda inside, cut, count: k.store(k.load(x, inside, count), y, cut, count))


def write_backward(k: Kernel) -> None:
    """gradient of x."""
    stage = k.stage(PlainStage)
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))
    k.fill_zero(result, stage.input.size)
    _rows(k, lambda inside, cut, count: k.store(k.load(behind, cut, count), result, inside, count))


def _rows(k: Kernel, body: Callable[[Index, Index, int], None]) -> None:
    """``body(offset in x, offset in y, count)`` for every vector of the window's values."""
    stage = k.stage(PlainStage)
    assert isinstance(stage.operation, RandomCrop)
    image, window = stage.input, stage.output
    draws = Draws(k, stage.operation.seed, of_batch=True)
    top = draws.below(0, image.height - window.height + 1)
    left = draws.below(1, image.width - window.width + 1)
    with k.loop(0, window.height) as row:
        inside, cut = pixel_at(k, image, k.add(top, row), left), pixel_at(k, window, row, 0)
        k.vectors(
            window.width * window.channels,
            lambda at, count: body(k.add(inside, at), k.add(cut, at), count),
        )


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"random_crop.forward": write_forward, "random_crop.backward": write_backward},
    words=words,
)
