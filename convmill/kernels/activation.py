"""Activations that stand alone: those whose derivative needs more than the output, or that follow
no convolution or dense layer. Softmax goes over the channels of each pixel; along other axes, and
its logarithm, over groups."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixels, rows
from convmill.kernels.functions import activate, gate_input
from convmill.kernels.groups import Group, Groups, Place, offset
from convmill.kernels.lang import F32, Emitter, Index
from convmill.kernels.math import exp, log
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.activations import Activation
from convmill.plan.graph.operations import Activate

SOFTMAX = ("softmax", "log_softmax")


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = f(x)."""
    stage = site.stage
    read, written = (value(stage.input),), (value(stage.output),)
    return [Launch("activation.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = f'(x) gradient of y."""
    stage = site.stage
    if not site.gradients.input:
        return []
    kept = value(stage.output if _function(stage).name in SOFTMAX else stage.input)
    read, written = (kept, gradient(stage.output)), (gradient(stage.input),)
    return [Launch("activation.backward", site.of, Images(), read, written)]


def _function(stage: PlainStage) -> Activation:
    assert isinstance(stage.operation, Activate)
    return stage.operation.activation


def _is_by_pixel(stage: PlainStage) -> bool:
    """Whether it is the softmax of each pixel."""
    return _function(stage).name == "softmax" and _axes(stage) == (-1,)


def _axes(stage: PlainStage) -> tuple[int, ...]:
    assert isinstance(stage.operation, Activate)
    assert stage.operation.axes is not None
    return stage.operation.axes


def _groups(stage: PlainStage) -> Groups:
    return Groups(stage.input, _axes(stage))


def words(stage: PlainStage) -> str:
    """What is computed."""
    return _function(stage).name


def write_forward(k: Kernel) -> None:
    """y = f(x), a vector at a time; softmax pixel by pixel."""
    stage = k.stage(PlainStage)
    x, y, function = k.pointer(value(stage.input)), k.pointer(value(stage.output)), _function(stage)

    def one_pixel(a: Index, b: Index) -> None:
        softmax(k, k.at(x, a), k.at(y, b), stage.input.channels)

    def one_vector(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(activate(k, function, k.load(x, a, count)), y, b, count)

    if _is_by_pixel(stage):
        pixels(k, stage.input, stage.output, one_pixel)
    elif function.name in SOFTMAX:
        _groups(stage).each(k, lambda group: _softmax_of_group(k, stage, group))
    else:
        rows(k, stage.input, stage.output, one_vector)


def write_backward(k: Kernel) -> None:
    """gradient of x = f'(x) gradient of y, a vector at a time; softmax pixel by pixel."""
    stage = k.stage(PlainStage)
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))
    function = _function(stage)

    def one_vector(a: Index, b: Index, _: Index, count: int) -> None:
        x = k.load(k.pointer(value(stage.input)), a, count)
        k.store(gate_input(k, function, x, k.load(behind, b, count)), result, a, count)

    if _is_by_pixel(stage):
        pixels(k, stage.input, stage.output, lambda a, b: _softmax_backward(k, stage, a, b))
    elif function.name in SOFTMAX:
        _groups(stage).each(k, lambda group: _backward_of_group(k, stage, group))
    else:
        rows(k, stage.input, stage.output, one_vector)


def softmax(e: Emitter, x: ir.Value, y: ir.Value, size: int) -> tuple[ir.Value, ir.Value]:
    """y = softmax(x) over ``size`` neighbours; returns the maximum of x and the sum of
    exponentials, as scalars."""
    b = e.builder
    highest = e.variable(e.constant(float("-inf")))

    def find(at: Index, count: int) -> None:
        value = e.load(x, at, count)
        if count < e.lanes:
            value = b.select(e.mask(count), value, e.constant(float("-inf")))
        e.set(highest, e.larger(e.get(highest), value))

    e.vectors(size, find)
    top = e.reduce("fmax", e.get(highest))
    total = e.variable(e.constant(0.0))

    def raise_(at: Index, count: int) -> None:
        power = exp(e, b.fsub(e.load(x, at, count), e.broadcast(top)))
        e.store(power, y, at, count)
        if count < e.lanes:
            power = b.select(e.mask(count), power, e.constant(0.0))
        e.set(total, b.fadd(e.get(total), power))

    e.vectors(size, raise_)
    whole = e.reduce("fadd", e.get(total))
    share = e.broadcast(b.fdiv(ir.Constant(F32, 1.0), whole))
    e.vectors(size, lambda at, count: e.store(b.fmul(e.load(y, at, count), share), y, at, count))
    return top, whole


def _softmax_backward(k: Kernel, stage: PlainStage, source: Index, target: Index) -> None:
    """gradient of x = y (gradient - sum of y gradient), over one pixel's channels."""
    e, b = k, k.builder
    y, behind = k.at(k.pointer(value(stage.output)), target), k.pointer(gradient(stage.output))
    behind, result = k.at(behind, target), k.at(k.pointer(gradient(stage.input)), source)
    total = e.variable(e.constant(0.0))
    e.vectors(
        stage.input.channels,
        lambda at, count: e.set(
            total, e.fma(e.load(y, at, count), e.load(behind, at, count), e.get(total))
        ),
    )
    every = e.broadcast(e.reduce("fadd", e.get(total)))
    e.vectors(
        stage.input.channels,
        lambda at, count: e.store(
            b.fmul(e.load(y, at, count), b.fsub(e.load(behind, at, count), every)),
            result,
            at,
            count,
        ),
    )


def _softmax_of_group(k: Kernel, stage: PlainStage, group: Group) -> None:
    """y = exp(x - top) / sum, or its logarithm."""
    b, x, y = k.builder, k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def load(place: Place, count: int) -> ir.Value:
        return k.load(x, offset(k, stage.input, place), count)

    top = group.largest(load)
    whole = group.sum(lambda place, count: exp(k, b.fsub(load(place, count), top)))
    is_log = _function(stage).name == "log_softmax"
    away = log(k, whole)  # not added to the top, beside which it could vanish
    share = b.fdiv(k.constant(1.0), whole)

    def store(place: Place, count: int) -> None:
        found = b.fsub(load(place, count), top)
        found = b.fsub(found, away) if is_log else b.fmul(exp(k, found), share)
        k.store(found, y, offset(k, stage.output, place), count)

    group.values(store)


def _backward_of_group(k: Kernel, stage: PlainStage, group: Group) -> None:
    """gradient of x = y (gradient - sum of y gradient); of a logarithm gradient - exp(y) sum."""
    b, y, behind = k.builder, k.pointer(value(stage.output)), k.pointer(gradient(stage.output))
    result, is_log = k.pointer(gradient(stage.input)), _function(stage).name == "log_softmax"

    def slope(place: Place, count: int) -> ir.Value:
        return k.load(behind, offset(k, stage.output, place), count)

    def written(place: Place, count: int) -> ir.Value:
        return k.load(y, offset(k, stage.output, place), count)

    def product(place: Place, count: int) -> ir.Value:
        return b.fmul(slope(place, count), written(place, count))

    total = group.sum(slope if is_log else product)

    def store(place: Place, count: int) -> None:
        if is_log:
            share = exp(k, written(place, count))
            found = b.fsub(slope(place, count), b.fmul(share, total))
        else:
            found = b.fmul(written(place, count), b.fsub(slope(place, count), total))
        k.store(found, result, offset(k, stage.input, place), count)

    group.values(store)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"activation.forward": write_forward, "activation.backward": write_backward},
    words=words,
)
