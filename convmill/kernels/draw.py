"""Random numbers that a layer computes with, in training and outside it."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.random import Draws
from convmill.lower.launches import SEEDS, Images, Launch, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.random import Draw


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = numbers of its own for each image."""
    return [Launch("draw.forward", site.of, Images(), (SEEDS,), (value(site.stage.output),))]


def _operation(stage: PlainStage) -> Draw:
    assert isinstance(stage.operation, Draw)
    return stage.operation


def write_forward(k: Kernel) -> None:
    """By seed, step, image and element."""
    stage, operation = k.stage(PlainStage), _operation(k.stage(PlainStage))
    target, draws = k.pointer(value(stage.output)), Draws(k, operation.seed)
    first, second = operation.first, operation.second

    def one(at: Index, _: Index, element: Index, count: int) -> None:
        numbers = draws.numbers(element)
        if operation.kind == "normal":
            found = k.fma(draws.normal(numbers), k.constant(second), k.constant(first))
        else:  # from above zero to one; the upper end is never reached
            share = draws.uniform(numbers)
            found = k.fma(share, k.constant(first - second), k.constant(second))
        k.store(found, target, at, count)

    rows(k, stage.output, stage.output, one)


OPERATION = Operation(
    forward=forward,
    kernels={"draw.forward": write_forward},
    words=lambda stage: f"{_operation(stage).kind} random numbers",
)
