"""Pooling that stands alone: any window, stride and padding, overlapping or not, global too.

Images are rows x columns x channels; vectors run along channels. Windows are cut at the edges, so
that the maximum never sees padding and the average counts real pixels only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from convmill.kernels.lang import F32, I32, POINTER, Emitter, Index
from convmill.lower.stages import PoolingStage, Tensor


@contextmanager
def _windows(e: Emitter, stage: PoolingStage) -> Iterator[tuple[Index, Index, tuple[Index, ...]]]:
    """Each output place (row, column) with its window (top, bottom, left, right) in the input."""
    with e.loop(0, stage.output.height) as row, e.loop(0, stage.output.width) as column:
        top = e.sub(e.mul(row, stage.strides[0]), stage.padding[0])
        left = e.sub(e.mul(column, stage.strides[1]), stage.padding[1])
        bottom = e.minimum(e.add(top, stage.pool_size[0]), stage.input.height)
        right = e.minimum(e.add(left, stage.pool_size[1]), stage.input.width)
        yield row, column, (e.maximum(top, 0), bottom, e.maximum(left, 0), right)


def _pixel(e: Emitter, tensor: Tensor, row: Index, column: Index) -> Index:
    """Offset of a pixel's first channel."""
    return e.add(tensor.origin, e.mul(row, tensor.row), e.mul(column, tensor.channels))


def _share(e: Emitter, window: tuple[Index, ...]) -> ir.Value:
    """1 / number of pixels in a window, in every lane."""
    top, bottom, left, right = window
    pixels = e.mul(e.sub(bottom, top), e.sub(right, left))
    one = ir.Constant(F32, 1.0)
    return e.broadcast(e.builder.fdiv(one, e.builder.sitofp(e.index(pixels), F32)))


def forward(module: ir.Module, stage: PoolingStage, lanes: int, training: bool) -> ir.Function:
    """(x, y, argmax): y = maximum or mean of each window.

    With ``training`` the flat index of the first pixel that reaches the maximum is kept as int32.
    """
    e = Emitter(module, f"{stage.name}.forward", [POINTER] * 3, lanes)
    e.no_alias()
    b = e.builder
    x, y, argmax = e.arguments
    with _windows(e, stage) as (row, column, window):
        target = _pixel(e, stage.output, row, column)
        top, bottom, left, right = window

        def pool(channel: Index, count: int) -> None:
            lowest = e.constant(float("-inf") if stage.kind == "max" else 0.0)
            total, winner = e.variable(lowest), e.variable(e.whole(0))
            with e.loop(top, bottom) as i, e.loop(left, right) as j:
                value = e.load(x, e.add(_pixel(e, stage.input, i, j), channel), count)
                if stage.kind == "average":
                    e.set(total, b.fadd(e.get(total), value))
                else:
                    # what is no number wins, and then nothing is larger
                    larger = b.fcmp_ordered(">", value, e.get(total))
                    larger = b.or_(larger, b.fcmp_unordered("uno", value, value))
                    flat = e.index(e.add(e.mul(i, stage.input.width), j))
                    here = e.broadcast(b.trunc(flat, I32))
                    e.set(total, b.select(larger, value, e.get(total)))
                    e.set(winner, b.select(larger, here, e.get(winner)))
            result = e.get(total)
            if stage.kind == "average":
                result = b.fmul(result, _share(e, window))
            elif training:
                at = e.add(_output_place(e, stage, row, column), channel)
                e.store(e.get(winner), argmax, at, count, I32)
            e.store(result, y, e.add(target, channel), count)

        e.vectors(stage.output.channels, pool)
    return e.finish()


def _output_place(e: Emitter, stage: PoolingStage, row: Index, column: Index) -> Index:
    """Offset of an output place among argmax entries, which have no halo."""
    return e.mul(e.add(e.mul(row, stage.output.width), column), stage.output.channels)


def backward(module: ir.Module, stage: PoolingStage, lanes: int) -> ir.Function:
    """(x, y, gradient of y, argmax, gradient of x): to the winner of each window; to all pixels
    alike for the average; to all that reach the maximum alike where ties are shared."""
    e = Emitter(module, f"{stage.name}.backward", [POINTER] * 5, lanes)
    e.no_alias()
    x, y, gradient, argmax, result = e.arguments
    e.fill_zero(result, stage.input.size)
    with _windows(e, stage) as (row, column, window):
        source = _pixel(e, stage.output, row, column)
        top, bottom, left, right = window

        def spread(channel: Index, count: int) -> None:
            value = e.load(gradient, e.add(source, channel), count)
            winner = highest = None
            if stage.kind == "average":
                value = e.builder.fmul(value, _share(e, window))
            elif stage.shares_ties:
                highest = e.load(y, e.add(source, channel), count)
                value = e.builder.fdiv(value, _ties(e, stage, x, highest, window, channel, count))
            else:
                at = e.add(_output_place(e, stage, row, column), channel)
                winner = e.load(argmax, at, count, I32)
            with e.loop(top, bottom) as i, e.loop(left, right) as j:
                target = e.add(_pixel(e, stage.input, i, j), channel)
                chosen = None
                if winner is not None:
                    flat = e.index(e.add(e.mul(i, stage.input.width), j))
                    here = e.broadcast(e.builder.trunc(flat, I32))
                    chosen = e.builder.icmp_signed("==", winner, here)
                elif highest is not None:
                    chosen = e.builder.fcmp_ordered("==", e.load(x, target, count), highest)
                part = value
                if chosen is not None:
                    part = e.builder.select(chosen, value, e.constant(0.0))
                before = e.load(result, target, count)
                e.store(e.builder.fadd(before, part), result, target, count)

        e.vectors(stage.output.channels, spread)
    return e.finish()


def _ties(
    e: Emitter,
    stage: PoolingStage,
    x: ir.Value,
    highest: ir.Value,
    window: tuple[Index, ...],
    channel: Index,
    count: int,
) -> ir.Value:
    """How many pixels of a window reach its maximum."""
    top, bottom, left, right = window
    total = e.variable(e.constant(0.0))
    with e.loop(top, bottom) as i, e.loop(left, right) as j:
        value = e.load(x, e.add(_pixel(e, stage.input, i, j), channel), count)
        same = e.builder.fcmp_ordered("==", value, highest)
        one = e.builder.select(same, e.constant(1.0), e.constant(0.0))
        e.set(total, e.builder.fadd(e.get(total), one))
    return e.get(total)
