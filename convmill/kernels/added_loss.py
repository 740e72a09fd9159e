"""What layers add to the loss: factors of sums of an image's values."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import F32, Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.penalize import images_of_batch, write_penalty
from convmill.lower.launches import ACTIVITIES, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import AddedLoss


def forward(site: Site[PlainStage]) -> list[Launch]:
    """The factor times the sum of x."""
    read = (value(site.stage.input),)
    return [Launch("added_loss.forward", site.of, Images(), read, (ACTIVITIES,))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = the factor, of a mean over images divided by their number."""
    if not site.gradients.input:
        return []
    return [Launch("added_loss.backward", site.of, Images(), (), (gradient(site.stage.input),))]


def _operation(stage: PlainStage) -> AddedLoss:
    assert isinstance(stage.operation, AddedLoss)
    return stage.operation


def write_forward(k: Kernel) -> None:
    """The sum goes to its row, one for each of the net's penalties, at the image's place."""
    stage = k.stage(PlainStage)
    source = k.pointer(value(stage.input))
    total = k.variable(k.constant(0.0))

    def one(at: Index, _: Index, __: Index, count: int) -> None:
        part = k.load(source, at, count)
        if count < k.lanes:
            part = k.builder.select(k.mask(count), part, k.constant(0.0))
        k.set(total, k.builder.fadd(k.get(total), part))

    rows(k, stage.input, stage.input, one)
    factor = ir.Constant(F32, _operation(stage).factor)
    write_penalty(k, k.builder.fmul(k.reduce("fadd", k.get(total)), factor))


def write_backward(k: Kernel) -> None:
    """The same for all values."""
    stage, operation = k.stage(PlainStage), _operation(k.stage(PlainStage))
    target = k.pointer(gradient(stage.input))
    factor: ir.Value = ir.Constant(F32, operation.factor)
    if operation.over == "mean":
        factor = k.builder.fdiv(factor, images_of_batch(k))
    slope = k.broadcast(factor)
    rows(k, stage.input, stage.input, lambda at, _, __, count: k.store(slope, target, at, count))


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"added_loss.forward": write_forward, "added_loss.backward": write_backward},
    words=lambda stage: f"adds its {_operation(stage).over} to the loss",
)
