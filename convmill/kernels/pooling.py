"""Pooling that stands alone: any window, stride and padding, overlapping or not, global too.

Images are rows x columns x channels; vectors run along channels. Windows are cut at the edges, so
that the maximum never sees padding and the average counts real pixels only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.lang import F32, I32, Emitter, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Slot, argmax, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import Pooling

ARGMAX_BYTES = 4  # the flat index of a pixel


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = maximum or mean of each window; in training the places of the maxima are kept."""
    stage = site.stage
    kept = (_maxima(stage),) if site.gradients.input and _keeps_maxima(stage) else ()
    written = (value(stage.output), *kept)
    return [Launch("pooling.forward", site.of, Images(), (value(stage.input),), written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """To the winner of each window; to all pixels alike for the average; to all that reach the
    maximum alike where ties are shared."""
    stage = site.stage
    if not site.gradients.input:
        return []
    needed: tuple[Slot, ...] = (_maxima(stage),) if _keeps_maxima(stage) else ()
    if _operation(stage).kind == "max" and not needed:
        needed = (value(stage.input), value(stage.output))
    read, written = (gradient(stage.output), *needed), (gradient(stage.input),)
    return [Launch("pooling.backward", site.of, Images(), read, written)]


def _operation(stage: PlainStage) -> Pooling:
    assert isinstance(stage.operation, Pooling)
    return stage.operation


def _keeps_maxima(stage: PlainStage) -> bool:
    operation = _operation(stage)
    return operation.kind == "max" and operation.ties == "first"


def _maxima(stage: PlainStage) -> Slot:
    return argmax(stage.output, ARGMAX_BYTES)


def words(stage: PlainStage) -> str:
    """What is computed."""
    operation = _operation(stage)
    return f"{operation.kind} pooling {'x'.join(map(str, operation.pool_size))}"


@contextmanager
def _windows(e: Emitter, stage: PlainStage) -> Iterator[tuple[Index, Index, tuple[Index, ...]]]:
    """Each output place (row, column) with its window (top, bottom, left, right) in the input."""
    operation = _operation(stage)
    with e.loop(0, stage.output.height) as row, e.loop(0, stage.output.width) as column:
        top = e.sub(e.mul(row, operation.strides[0]), operation.padding[0])
        left = e.sub(e.mul(column, operation.strides[1]), operation.padding[2])
        bottom = e.minimum(e.add(top, operation.pool_size[0]), stage.input.height)
        right = e.minimum(e.add(left, operation.pool_size[1]), stage.input.width)
        yield row, column, (e.maximum(top, 0), bottom, e.maximum(left, 0), right)


def _share(e: Emitter, window: tuple[Index, ...]) -> ir.Value:
    """1 / number of pixels in a window, in every lane."""
    top, bottom, left, right = window
    pixels = e.mul(e.sub(bottom, top), e.sub(right, left))
    one = ir.Constant(F32, 1.0)
    return e.broadcast(e.builder.fdiv(one, e.builder.sitofp(e.index(pixels), F32)))


def write_forward(k: Kernel) -> None:
    """y = maximum or mean of each window, channels in the lanes.

    Where it is kept, the flat index of the first pixel that reaches the maximum goes along as
    int32.
    """
    stage, b = k.stage(PlainStage), k.builder
    x, y, kept = k.pointer(value(stage.input)), k.pointer(value(stage.output)), _maxima(stage)
    average = _operation(stage).kind == "average"
    with _windows(k, stage) as (row, column, window):
        target = pixel_at(k, stage.output, row, column)
        top, bottom, left, right = window

        def pool(channel: Index, count: int) -> None:
            lowest = k.constant(0.0 if average else float("-inf"))
            total, winner = k.variable(lowest), k.variable(k.whole(0))
            with k.loop(top, bottom) as i, k.loop(left, right) as j:
                one = k.load(x, k.add(pixel_at(k, stage.input, i, j), channel), count)
                if average:
                    k.set(total, b.fadd(k.get(total), one))
                else:
                    # what is no number wins, and then nothing is larger
                    larger = b.fcmp_ordered(">", one, k.get(total))
                    larger = b.or_(larger, b.fcmp_unordered("uno", one, one))
                    flat = k.index(k.add(k.mul(i, stage.input.width), j))
                    here = k.broadcast(b.trunc(flat, I32))
                    k.set(total, b.select(larger, one, k.get(total)))
                    k.set(winner, b.select(larger, here, k.get(winner)))
            result = k.get(total)
            if average:
                result = b.fmul(result, _share(k, window))
            elif kept in k.launch.writes:
                at = k.add(_output_place(k, stage, row, column), channel)
                k.store(k.get(winner), k.pointer(kept), at, count, I32)
            k.store(result, y, k.add(target, channel), count)

        k.vectors(stage.output.channels, pool)


def _output_place(e: Emitter, stage: PlainStage, row: Index, column: Index) -> Index:
    """Offset of an output place among argmax entries, which have no halo."""
    return e.mul(e.add(e.mul(row, stage.output.width), column), stage.output.channels)


def write_backward(k: Kernel) -> None:
    """gradient of x += gradient of y, window by window, channels in the lanes."""
    stage = k.stage(PlainStage)
    behind, result = k.pointer(gradient(stage.output)), k.pointer(gradient(stage.input))
    average, kept = _operation(stage).kind == "average", _maxima(stage)
    k.fill_zero(result, stage.input.size)
    with _windows(k, stage) as (row, column, window):
        source = pixel_at(k, stage.output, row, column)
        top, bottom, left, right = window

        def spread(channel: Index, count: int) -> None:
            slope = k.load(behind, k.add(source, channel), count)
            winner = highest = None
            if average:
                slope = k.builder.fmul(slope, _share(k, window))
            elif kept in k.launch.reads:
                at = k.add(_output_place(k, stage, row, column), channel)
                winner = k.load(k.pointer(kept), at, count, I32)
            else:
                highest = k.load(k.pointer(value(stage.output)), k.add(source, channel), count)
                slope = k.builder.fdiv(slope, _ties(k, stage, highest, window, channel, count))
            with k.loop(top, bottom) as i, k.loop(left, right) as j:
                target = k.add(pixel_at(k, stage.input, i, j), channel)
                part = slope
                if winner is not None:
                    flat = k.index(k.add(k.mul(i, stage.input.width), j))
                    here = k.broadcast(k.builder.trunc(flat, I32))
                    chosen = k.builder.icmp_signed("==", winner, here)
                    part = k.builder.select(chosen, slope, k.constant(0.0))
                elif highest is not None:
                    one = k.load(k.pointer(value(stage.input)), target, count)
                    chosen = k.builder.fcmp_ordered("==", one, highest)
                    part = k.builder.select(chosen, slope, k.constant(0.0))
                before = k.load(result, target, count)
                k.store(k.builder.fadd(before, part), result, target, count)

        k.vectors(stage.output.channels, spread)


def _ties(
    k: Kernel,
    stage: PlainStage,
    highest: ir.Value,
    window: tuple[Index, ...],
    channel: Index,
    count: int,
) -> ir.Value:
    """How many pixels of a window reach its maximum."""
    x = k.pointer(value(stage.input))
    top, bottom, left, right = window
    total = k.variable(k.constant(0.0))
    with k.loop(top, bottom) as i, k.loop(left, right) as j:
        one = k.load(x, k.add(pixel_at(k, stage.input, i, j), channel), count)
        same = k.builder.fcmp_ordered("==", one, highest)
        counted = k.builder.select(same, k.constant(1.0), k.constant(0.0))
        k.set(total, k.builder.fadd(k.get(total), counted))
    return k.get(total)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"pooling.forward": write_forward, "pooling.backward": write_backward},
    words=words,
)
