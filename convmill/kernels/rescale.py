"""Rescaling: x * scale + offset."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph import Rescale


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x scale + offset."""
    read, written = (value(site.stage.input),), (value(site.stage.output),)
    return [Launch("rescale.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = gradient of y scale."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output),), (gradient(site.stage.input),)
    return [Launch("rescale.backward", site.of, Images(), read, written)]


def write(k: Kernel) -> None:
    """target = source scale + offset, a vector at a time; gradients without the offset."""
    stage = k.stage(PlainStage)
    operation = stage.operation
    assert isinstance(operation, Rescale)
    tensors, offset = (stage.input, stage.output), operation.offset
    if k.launch.kernel == "rescale.backward":
        tensors, offset = (stage.output, stage.input), 0.0
    (read,), (written,) = k.launch.reads, k.launch.writes
    source, target = k.pointer(read), k.pointer(written)
    factor, rest = k.constant(operation.scale), k.constant(offset)

    def one(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(k.fma(k.load(source, a, count), factor, rest), target, b, count)

    rows(k, *tensors, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"rescale.forward": write, "rescale.backward": write},
    words=lambda stage: "rescale",
)
