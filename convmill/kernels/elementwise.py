"""Stages that treat values one by one (activation, dropout, rescaling), and softmax.

Values of one row of pixels are neighbours in memory; halos are stepped over.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from convmill.kernels.lang import F32, I32, I64, POINTER, Emitter, Index
from convmill.kernels.math import activate, exp, gate_input
from convmill.lower.stages import ActivationStage, DropoutStage, RescaleStage, Tensor

GOLDEN_64, MIX_64 = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
GOLDEN_32, MIX_32 = 0x9E3779B1, (0x85EBCA6B, 0xC2B2AE35)


def _rows(
    e: Emitter, source: Tensor, target: Tensor, body: Callable[[Index, Index, Index, int], None]
) -> None:
    """``body(offset in source, offset in target, element, count)`` for every vector of values."""
    length = source.width * source.channels
    with e.loop(0, source.height) as row:
        start = e.add(source.origin, e.mul(row, source.row))
        goal = e.add(target.origin, e.mul(row, target.row))
        first = e.mul(row, length)
        e.vectors(
            length,
            lambda at, count: body(e.add(start, at), e.add(goal, at), e.add(first, at), count),
        )


def activation_forward(module: ir.Module, stage: ActivationStage, lanes: int) -> ir.Function:
    """(x, y): y = f(x)."""
    e = Emitter(module, f"{stage.name}.forward", [POINTER] * 2, lanes)
    e.no_alias()
    x, y = e.arguments
    if stage.activation.name == "softmax":
        _pixels(e, stage.input, stage.output, lambda a, b: _softmax(e, stage, a, b))
    else:
        _rows(
            e,
            stage.input,
            stage.output,
            lambda a, b, _, count: e.store(
                activate(e, stage.activation, e.load(x, a, count)), y, b, count
            ),
        )
    return e.finish()


def activation_backward(module: ir.Module, stage: ActivationStage, lanes: int) -> ir.Function:
    """(x, y, gradient of y, gradient of x)."""
    e = Emitter(module, f"{stage.name}.backward", [POINTER] * 4, lanes)
    e.no_alias()
    x, _, gradient, result = e.arguments
    if stage.activation.name == "softmax":
        _pixels(e, stage.input, stage.output, lambda a, b: _softmax_backward(e, stage, a, b))
    else:
        _rows(
            e,
            stage.input,
            stage.output,
            lambda a, b, _, count: e.store(
                gate_input(e, stage.activation, e.load(x, a, count), e.load(gradient, b, count)),
                result,
                a,
                count,
            ),
        )
    return e.finish()


def _pixels(
    e: Emitter, source: Tensor, target: Tensor, body: Callable[[Index, Index], None]
) -> None:
    """``body(offset in source, offset in target)`` for every pixel."""
    with e.loop(0, source.height) as row, e.loop(0, source.width) as column:
        away = e.mul(column, source.channels)
        body(
            e.add(source.origin, e.mul(row, source.row), away),
            e.add(target.origin, e.mul(row, target.row), away),
        )


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


def _softmax(e: Emitter, stage: ActivationStage, source: Index, target: Index) -> None:
    """Softmax of one pixel's channels."""
    x, y = e.arguments
    softmax(e, e.at(x, source), e.at(y, target), stage.input.channels)


def _softmax_backward(e: Emitter, stage: ActivationStage, source: Index, target: Index) -> None:
    """gradient of x = y (gradient - sum of y gradient), over one pixel's channels."""
    b = e.builder
    _, y, gradient, result = e.arguments
    y, gradient, result = e.at(y, target), e.at(gradient, target), e.at(result, source)
    total = e.variable(e.constant(0.0))
    e.vectors(
        stage.input.channels,
        lambda at, count: e.set(
            total, e.fma(e.load(y, at, count), e.load(gradient, at, count), e.get(total))
        ),
    )
    every = e.broadcast(e.reduce("fadd", e.get(total)))
    e.vectors(
        stage.input.channels,
        lambda at, count: e.store(
            b.fmul(e.load(y, at, count), b.fsub(e.load(gradient, at, count), every)),
            result,
            at,
            count,
        ),
    )


def rescale(module: ir.Module, stage: RescaleStage, lanes: int, backward: bool) -> ir.Function:
    """(x, y): y = x scale + offset; backward (gradient of y, gradient of x): without the offset."""
    e = Emitter(
        module, f"{stage.name}.{'backward' if backward else 'forward'}", [POINTER] * 2, lanes
    )
    e.no_alias()
    source, target = (stage.output, stage.input) if backward else (stage.input, stage.output)
    scale, offset = e.constant(stage.scale), e.constant(0.0 if backward else stage.offset)
    x, y = e.arguments
    _rows(
        e,
        source,
        target,
        lambda a, b, _, count: e.store(e.fma(e.load(x, a, count), scale, offset), y, b, count),
    )
    return e.finish()


def copy(module: ir.Module, stage: DropoutStage, lanes: int) -> ir.Function:
    """(x, y): y = x, dropout outside training."""
    e = Emitter(module, f"{stage.name}.copy", [POINTER] * 2, lanes)
    e.no_alias()
    x, y = e.arguments
    _rows(
        e,
        stage.input,
        stage.output,
        lambda a, b, _, count: e.store(e.load(x, a, count), y, b, count),
    )
    return e.finish()


def dropout(module: ir.Module, stage: DropoutStage, lanes: int, backward: bool) -> ir.Function:
    """(x, y, key): y = x / (1 - rate) where a hash of (key, element) keeps it, else 0.

    Backward the same mask is drawn again: (gradient of y, gradient of x, key).
    """
    e = Emitter(
        module,
        f"{stage.name}.{'backward' if backward else 'forward'}",
        [POINTER, POINTER, I64],
        lanes,
    )
    e.no_alias()
    b = e.builder
    x, y, key = e.arguments
    source, target = (stage.output, stage.input) if backward else (stage.input, stage.output)
    first = e.broadcast(b.trunc(key, I32))
    second = e.broadcast(b.trunc(b.lshr(key, ir.Constant(I64, 32)), I32))
    bound = e.whole(min(2**32 - 1, round(stage.rate * 2**32)))
    scale = e.constant(1 / (1 - stage.rate) if stage.rate < 1 else 0.0)
    steps = ir.Constant(e.integers, list(range(lanes)))

    def one(a: Index, c: Index, element: Index, count: int) -> None:
        number = b.add(e.broadcast(b.trunc(e.index(element), I32)), steps)
        drawn = _mix(e, b.add(_mix(e, b.xor(b.mul(number, e.whole(GOLDEN_32)), first)), second))
        kept = b.icmp_unsigned(">=", drawn, bound)
        value = b.select(kept, b.fmul(e.load(x, a, count), scale), e.constant(0.0))
        e.store(value, y, c, count)

    _rows(e, source, target, one)
    return e.finish()


def _mix(e: Emitter, h: ir.Value) -> ir.Value:
    """The finalizer of MurmurHash3 (A. Appleby), on 32-bit lanes."""
    b = e.builder
    h = b.mul(b.xor(h, b.lshr(h, e.whole(16))), e.whole(MIX_32[0]))
    h = b.mul(b.xor(h, b.lshr(h, e.whole(13))), e.whole(MIX_32[1]))
    return b.xor(h, b.lshr(h, e.whole(16)))


def stream_key(e: Emitter, seed: ir.Value, step: ir.Value, position: ir.Value) -> ir.Value:
    """A key for one image of one step: SplitMix64 (S. Vigna) of seed, step and position."""
    b = e.builder
    key = seed
    for part in (step, position):
        key = b.add(b.add(key, part), ir.Constant(I64, GOLDEN_64))
        key = b.mul(b.xor(key, b.lshr(key, ir.Constant(I64, 30))), ir.Constant(I64, MIX_64[0]))
        key = b.mul(b.xor(key, b.lshr(key, ir.Constant(I64, 27))), ir.Constant(I64, MIX_64[1]))
        key = b.xor(key, b.lshr(key, ir.Constant(I64, 31)))
    return key
