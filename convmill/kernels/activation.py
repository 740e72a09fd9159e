"""Activations that stand alone: those whose derivative needs more than the output, or that follow
no convolution or dense layer. Softmax goes over the channels of each pixel."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixels, rows
from convmill.kernels.functions import activate, gate_input
from convmill.kernels.lang import F32, Emitter, Index
from convmill.kernels.math import exp
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph import Activate, Activation


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
    kept = value(stage.output if _function(stage).name == "softmax" else stage.input)
    read, written = (kept, gradient(stage.output)), (gradient(stage.input),)
    return [Launch("activation.backward", site.of, Images(), read, written)]


def _function(stage: PlainStage) -> Activation:
    assert isinstance(stage.operation, Activate)
    return stage.operation.activation


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

    if function.name == "softmax":
        pixels(k, stage.input, stage.output, one_pixel)
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

    if function.name == "softmax":
        pixels(k, stage.input, stage.output, lambda a, b: _softmax_backward(k, stage, a, b))
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


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"activation.forward": write_forward, "activation.backward": write_backward},
    words=words,
)
