"""How long each stage of a training step takes: predicted, and measured on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convmill.design.costs import costs
from convmill.design.steps import design_of_graph
from convmill.plan.graph.nodes import Graph
from convmill.runtime import speed
from convmill.runtime.host import machine
from convmill.train.trial import Trial

if TYPE_CHECKING:
    from convmill.lower.launches import Launch
    from convmill.lower.network import Network

MEASURED_SECONDS = 0.5


@dataclass(frozen=True)
class Times:
    """Seconds of an image in a training step of ``images`` images, on one thread: of each stage
    what is ``predicted`` (None for what has no prediction of its own) and what was ``measured``,
    its weights' update counted; and what was measured of the ``rest``: gathering images, losses."""

    images: int
    predicted: tuple[float | None, ...]
    measured: tuple[float, ...]
    rest: float

    def of(self, stage: int) -> tuple[float | None, float]:
        """What was predicted and measured of a stage."""
        return self.predicted[stage], self.measured[stage]


def times_of(trial: Trial) -> Times:
    """The times of all stages of a Program: the least of many runs each."""
    from convmill.runtime import remembered  # brings LLVM
    from convmill.runtime.stopwatch import launch_seconds

    program = trial.program(remembered.chooser, True)
    spent = launch_seconds(program, "training", trial.runs["training"], MEASURED_SECONDS)
    names = [program.graph.nodes[stage.nodes[0]].name for stage in program.network.stages]
    each, rest = _by_stage(program.network, spent)
    measured = tuple(seconds / trial.images for seconds in each)
    return Times(
        trial.images, _predicted(program.graph, trial.images, names), measured, rest / trial.images
    )


def _by_stage(network: Network, spent: Mapping[Launch, float]) -> tuple[list[float], float]:
    """Seconds of each stage and of the rest; what belongs to a parameter is of the first stage that
    reads it."""
    owners: dict[int, int] = {}
    for number, stage in enumerate(network.stages):
        for index in stage.parameters:
            owners.setdefault(index, number)
    each, rest = [0.0] * len(network.stages), 0.0
    for launch, seconds in spent.items():
        if launch.of.startswith("stage"):
            each[launch.number] += seconds
        elif launch.of.startswith("matrix") and launch.number in owners:
            each[owners[launch.number]] += seconds
        else:
            rest += seconds
    return each, rest


def _predicted(graph: Graph, images: int, names: Sequence[str]) -> tuple[float | None, ...]:
    """Of each stage, by its layer; the first one of a layer has all that is predicted of it."""
    design = design_of_graph(graph)
    layers, _ = speed.predict(design, costs(design, machine()), images, 1)
    left = {name: seconds / images for name, seconds in layers.items() if seconds}
    return tuple(left.pop(name, None) for name in names)
