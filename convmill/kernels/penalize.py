"""Regularizers of what a layer computes: values go on as they are, and add to the loss."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.context import field
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import F32, Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.treatments import regularized
from convmill.lower.launches import ACTIVITIES, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import PENALTIES, Penalize


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x, and l1 sum |x| + l2 sum x^2 of the image."""
    read, written = (value(site.stage.input),), (value(site.stage.output), ACTIVITIES)
    return [Launch("penalize.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = gradient of y + (l1 sign(x) + 2 l2 x) / images of the batch."""
    if not site.gradients.input:
        return []
    read = (gradient(site.stage.output), value(site.stage.output))
    return [Launch("penalize.backward", site.of, Images(), read, (gradient(site.stage.input),))]


def _operation(stage: PlainStage) -> Penalize:
    assert isinstance(stage.operation, Penalize)
    return stage.operation


def write_forward(k: Kernel) -> None:
    """The penalty goes to its row, one for each of the net's penalties, at the image's place."""
    stage, b = k.stage(PlainStage), k.builder
    regularizer = _operation(stage).regularizer
    source, target = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    total = k.variable(k.constant(0.0))

    def one(a: Index, c: Index, _: Index, count: int) -> None:
        x = k.load(source, a, count)
        part = b.fmul(k.intrinsic("fabs", x), k.constant(regularizer.l1))
        part = k.fma(b.fmul(x, x), k.constant(regularizer.l2), part)
        k.set(total, b.fadd(k.get(total), part))
        k.store(x, target, c, count)

    rows(k, stage.input, stage.output, one)
    write_penalty(k, k.reduce("fadd", k.get(total)))


def write_penalty(k: Kernel, found: ir.Value) -> None:
    """Stores an image's penalty in the row of the stage."""
    before = k.build.network.stages[: k.launch.number]
    number = sum(isinstance(getattr(each, "operation", None), PENALTIES) for each in before)
    positions = field(k, k.told("context"), "positions")
    at = k.add(k.mul(number, positions), k.told("position"))
    k.store_scalar(found, k.pointer(ACTIVITIES), at)


def images_of_batch(k: Kernel) -> ir.Value:
    """How many images the batch has, a float: fewer where it is the last one."""
    context = k.told("context")
    start = k.sub(k.told("position"), k.told("place"))
    left = k.sub(field(k, context, "positions"), start)
    images = k.index(k.minimum(field(k, context, "batch_size"), left))
    return k.builder.sitofp(images, F32)


def write_backward(k: Kernel) -> None:
    """The slope of the regularizer, divided by the images of the batch."""
    stage = k.stage(PlainStage)
    regularizer = _operation(stage).regularizer
    factor = k.broadcast(k.builder.fdiv(ir.Constant(F32, 1.0), images_of_batch(k)))
    behind, values = k.pointer(gradient(stage.output)), k.pointer(value(stage.output))
    target = k.pointer(gradient(stage.input))

    def one(a: Index, c: Index, _: Index, count: int) -> None:
        slope = regularized(k, regularizer, k.constant(0.0), k.load(values, a, count))
        k.store(k.fma(slope, factor, k.load(behind, a, count)), target, c, count)

    rows(k, stage.output, stage.input, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"penalize.forward": write_forward, "penalize.backward": write_backward},
    words=lambda stage: "activity regularizer",
)
