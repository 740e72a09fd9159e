"""Rectifier with a trained slope below zero (He et al. 2015), of each value, or shared by many."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.broadcast import Pattern, write_gradient
from convmill.kernels.build import Kernel
from convmill.kernels.groups import Groups, Place, offset
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Slot, gradient, of_matrix, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import Prelu


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x above zero, alpha x below."""
    stage = site.stage
    read, written = (value(stage.input), _alpha(stage)), (value(stage.output),)
    return [Launch("prelu.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = that of y, times alpha below zero."""
    stage = site.stage
    if not site.gradients.input:
        return []
    read = (value(stage.input), gradient(stage.output), _alpha(stage))
    return [Launch("prelu.backward", site.of, Images(), read, (gradient(stage.input),))]


def weight_gradient(site: Site[PlainStage]) -> list[Launch]:
    """gradient of alpha = sum of that of y times x, where x is below zero."""
    stage = site.stage
    over = _pattern(stage).shares(site.lanes)
    read = (value(stage.input), gradient(stage.output))
    written = (of_matrix("gradient_of", _operation(stage).alpha),)
    work = 2 * stage.output.values
    return [Launch("prelu.alpha_gradient", site.of, over, read, written, work)]


def _operation(stage: PlainStage) -> Prelu:
    assert isinstance(stage.operation, Prelu)
    return stage.operation


def _alpha(stage: PlainStage) -> Slot:
    return of_matrix("parameter", _operation(stage).alpha)


def _pattern(stage: PlainStage) -> Pattern:
    return Pattern(stage.input, *_operation(stage).sizes)


def write_forward(k: Kernel) -> None:
    """y."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def one(place: Place, count: int) -> None:
        found = k.load(x, offset(k, stage.input, place), count)
        scaled = k.builder.fmul(found, _slope(k, stage, place, count))
        above = k.builder.fcmp_unordered(">", found, k.constant(0.0))
        k.store(k.builder.select(above, found, scaled), y, offset(k, stage.output, place), count)

    _every(k, stage.input, one)


def write_backward(k: Kernel) -> None:
    """gradient of x; none where x is zero, as Keras has it: both of its parts end there."""
    stage, b, zero = k.stage(PlainStage), k.builder, k.constant(0.0)
    x, behind = k.pointer(value(stage.input)), k.pointer(gradient(stage.output))
    result = k.pointer(gradient(stage.input))

    def one(place: Place, count: int) -> None:
        found = k.load(x, offset(k, stage.input, place), count)
        slope = k.load(behind, offset(k, stage.output, place), count)
        scaled = b.fmul(slope, _slope(k, stage, place, count))
        below = b.select(b.fcmp_ordered("==", found, zero), zero, scaled)
        chosen = b.select(b.fcmp_unordered(">", found, zero), slope, below)
        k.store(chosen, result, offset(k, stage.input, place), count)

    _every(k, stage.input, one)


def write_alpha_gradient(k: Kernel) -> None:
    """gradient of alpha, a share of it."""
    stage, b = k.stage(PlainStage), k.builder

    def term(image: Index, place: Place, count: int) -> ir.Value:
        x, behind = (k.record(s, image) for s in (value(stage.input), gradient(stage.output)))
        found = k.load(x, offset(k, stage.input, place), count)
        below = b.select(b.fcmp_unordered(">", found, k.constant(0.0)), k.constant(0.0), found)
        return b.fmul(below, k.load(behind, offset(k, stage.output, place), count))

    write_gradient(k, _pattern(stage), _operation(stage).alpha, term)


def _slope(k: Kernel, stage: PlainStage, place: Place, count: int) -> ir.Value:
    return _pattern(stage).load(k, k.pointer(_alpha(stage)), place, count)


def _every(k: Kernel, tensor: Tensor, body: Callable[[Place, int], None]) -> None:
    """Every vector of channels."""
    Groups(tensor, (-3, -2, -1)).each(k, lambda group: group.values(body))


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "prelu.forward": write_forward,
        "prelu.backward": write_backward,
        "prelu.alpha_gradient": write_alpha_gradient,
    },
    words=lambda stage: "prelu",
)
