"""From the gradient behind an activation to that before it, in place: for kernels that read the
gradient of a stage's output more than once."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.functions import gate
from convmill.kernels.lang import Index
from convmill.kernels.operation import Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import WeightedStage


def gated(site: Site) -> list[Launch]:
    """The launch, where there is an activation."""
    stage, behind = site.stage, gradient(site.stage.output)
    if stage.activation.name == "linear":
        return []
    read = (value(stage.output), behind)
    return [Launch("gating.gradient", site.of, Images(), read, (behind,))]


def write(k: Kernel) -> None:
    """The gradient before the activation, in place."""
    stage = k.build.network.stages[k.launch.number]
    assert isinstance(stage, WeightedStage)
    y, behind = k.pointer(value(stage.output)), k.pointer(gradient(stage.output))

    def one(at: Index, _: Index, __: Index, count: int) -> None:
        before = gate(k, stage.activation, k.load(y, at, count), k.load(behind, at, count))
        k.store(before, behind, at, count)

    rows(k, stage.output, stage.output, one)


KERNELS = {"gating.gradient": write}
