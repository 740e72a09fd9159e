"""A weight as the input of operations: its values for every image, and the sum of their
gradients."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import Weight


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = w."""
    read, written = (of_matrix("parameter", _index(site.stage)),), (value(site.stage.output),)
    return [Launch("weight.forward", site.of, Images(), read, written)]


def weight_gradient(site: Site[PlainStage]) -> list[Launch]:
    """gradient of w = the sum of those of y over the images."""
    output = site.stage.output
    written = (of_matrix("gradient_of", _index(site.stage)),)
    over = Shares(output.values, site.lanes)
    return [
        Launch("weight.gradient", site.of, over, (gradient(output),), written, work=output.values)
    ]


def _index(stage: PlainStage) -> int:
    assert isinstance(stage.operation, Weight)
    return stage.operation.parameter


def write_forward(k: Kernel) -> None:
    """A copy; nothing that reads it wants a border."""
    (read,), (written,) = k.launch.reads, k.launch.writes
    w, y = k.pointer(read), k.pointer(written)
    size = k.stage(PlainStage).output.values
    k.vectors(size, lambda at, count: k.store(k.load(w, at, count), y, at, count))


def write_gradient(k: Kernel) -> None:
    """A share of the sum, image after image."""
    (read,), (written,) = k.launch.reads, k.launch.writes
    result = k.pointer(written)
    for at, count in k.share(k.stage(PlainStage).output.values):
        total = k.variable(k.unless_fresh(k.load(result, at, count)))
        with k.loop(0, k.told("images")) as image:
            found = k.load(k.record(read, image), at, count)
            k.set(total, k.builder.fadd(k.get(total), found))
        k.store(k.get(total), result, at, count)


OPERATION = Operation(
    forward=forward,
    weight_gradient=weight_gradient,
    kernels={"weight.forward": write_forward, "weight.gradient": write_gradient},
    words=lambda stage: "weight",
)
