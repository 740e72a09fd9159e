"""Backward through a convolution, over live places alone.

A filter is kernel height x (kernel width x channels in), so that each row of a window is one run of
neighbours in memory, for weights and images alike. Behind max pooling at most one place of a window
has a gradient, and relu kills about half of those: for each filter the live ones stand in a list,
and both backward kernels run along the lists with full vectors over the window's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from convmill.kernels.lang import F32, I8, I32, I64, POINTER, Emitter, Index, cover
from convmill.kernels.math import gate
from convmill.lower.schedule import WindowChunk
from convmill.lower.stages import ConvolutionStage


def live_places(module: ir.Module, stage: ConvolutionStage, lanes: int) -> ir.Function:
    """(y, gradient, argmax, live gradient, live offset, live count): the places that matter.

    For each filter, the gradients before the activation that are not zero, in row-major order,
    each with the offset of its window in the input.
    """
    e = Emitter(module, f"{stage.name}.live", [POINTER] * 6, lanes)
    e.no_alias()
    b = e.builder
    y, gradient, argmax, live, offsets, counts = e.arguments
    step_row = stage.pool[0] * stage.strides[0] * stage.input.row
    step_column = stage.pool[1] * stage.strides[1] * stage.input.channels
    with e.loop(0, stage.output.channels) as channel:
        e.store_scalar(ir.Constant(I32, 0), counts, channel, I32)
    values, places = e.scratch(e.vector.element, lanes), e.scratch(I32, lanes)
    with e.loop(0, stage.output.height) as row, e.loop(0, stage.output.width) as column:
        at = e.add(
            stage.output.origin, e.mul(row, stage.output.row), e.mul(column, stage.output.channels)
        )
        pixel = e.mul(e.add(e.mul(row, stage.output.width), column), stage.output.channels)
        window = e.add(e.mul(row, step_row), e.mul(column, step_column))
        start = e.broadcast(b.trunc(e.index(window), I32))

        def keep(offset: Index, count: int) -> None:
            here = e.add(at, offset)
            gated = gate(e, stage.activation, e.load(y, here, count), e.load(gradient, here, count))
            place = start
            if stage.pooled:
                winner = e.load(argmax, e.add(pixel, offset), count, I8)
                place = b.add(start, _window_offset(e, stage, b.zext(winner, e.integers)))
            e.store(gated, values, 0)
            e.store(place, places, 0, None, I32)
            with e.loop(0, count) as lane:
                channel = e.add(offset, lane)
                _append(e, stage, channel, lane, (values, places), (live, offsets, counts))

        e.vectors(stage.output.channels, keep)
    return e.finish()


def _append(
    e: Emitter,
    stage: ConvolutionStage,
    channel: Index,
    lane: Index,
    source: tuple[ir.Value, ir.Value],
    lists: tuple[ir.Value, ir.Value, ir.Value],
) -> None:
    """Append one lane to its filter's list; the next one overwrites it where it is dead."""
    b = e.builder
    values, places = source
    live, offsets, counts = lists
    used = e.load_scalar(counts, channel, I32)
    at = e.add(e.mul(channel, stage.places), b.zext(used, I64))
    value = e.load_scalar(values, lane)
    e.store_scalar(value, live, at)
    e.store_scalar(e.load_scalar(places, lane, I32), offsets, at, I32)
    alive = b.fcmp_unordered("!=", value, ir.Constant(value.type, 0.0))
    e.store_scalar(b.add(used, b.zext(alive, I32)), counts, channel, I32)


def _window_offset(e: Emitter, stage: ConvolutionStage, winner: ir.Value) -> ir.Value:
    """Offset in the input of the ``winner``-th place of a pooling window."""
    offset = e.whole(0)
    for place in range(1, stage.pool[0] * stage.pool[1]):
        row, column = divmod(place, stage.pool[1])
        elements = (
            row * stage.strides[0] * stage.input.row
            + column * stage.strides[1] * stage.input.channels
        )
        same = e.builder.icmp_signed("==", winner, e.whole(place))
        offset = e.builder.select(same, e.whole(elements), offset)
    return offset


Piece = list[tuple[Index, Index, int]]  # (offset in the image, offset in the filter, lanes)


def _pieces(
    e: Emitter, stage: ConvolutionStage, chunk: WindowChunk, body: Callable[[Piece, ir.Value], None]
) -> None:
    """Call ``body`` for each part of a filter that fits the registers; the bit tells the first.

    The parts are loops over kernel rows and over runs of vectors; only the last run has a tail.
    """
    lanes, length = e.lanes, stage.window_row
    vectors = -(-length // lanes)
    for top, bottom, rows in cover(stage.kernel_size[0], chunk.rows):
        for start, stop, wide in cover(vectors, chunk.vectors, length % lanes > 0):
            last = length - (stop - 1) * lanes if stop == vectors else lanes
            counts = [lanes] * (wide - 1) + [last]
            with (
                e.loop(top, bottom, rows) as row,
                e.loop(start * lanes, stop * lanes, wide * lanes) as run,
            ):
                piece = [
                    (
                        e.add(e.mul(e.add(row, r), stage.input.row), run, v * lanes),
                        e.add(e.mul(e.add(row, r), length), run, v * lanes),
                        count,
                    )
                    for r in range(rows)
                    for v, count in enumerate(counts)
                ]
                corner = e.builder.or_(e.index(row), e.index(run))
                body(piece, e.builder.icmp_signed("==", corner, ir.Constant(I64, 0)))


def weight_gradient(
    module: ir.Module,
    stage: ConvolutionStage,
    chunk: WindowChunk,
    lanes: int,
    group: int,
    record: int,
    slots: dict[str, int],
) -> ir.Function:
    """(records, images, gradient, bias gradient, first filter, last filter).

    For each filter, part of its gradient stays in registers while the live places of ``group``
    images go by: gradient += live gradient x window. Images are taken in order, so that the sum
    does not depend on threads. ``record`` is the length of a record and ``slots`` the offsets in
    it, in bytes.
    """
    e = Emitter(
        module, f"{stage.name}.weight_gradient", [POINTER, I64, POINTER, POINTER, I64, I64], lanes
    )
    records, images, gradient, bias, first, last = e.arguments
    zero = ir.Constant(F32, 0.0)
    at_x = slots[f"value/{stage.input.buffer}"]
    at_live, at_offset, at_count = (
        slots[f"live/{stage.name}/{part}"] for part in ("gradient", "offset", "count")
    )
    with e.loop(first, last) as filter_:
        here = e.at(gradient, e.mul(filter_, stage.taps))
        e.fill_zero(here, stage.taps)
        if stage.bias is not None:
            e.store_scalar(zero, bias, filter_)
    with e.loop(0, images, group) as start, e.loop(first, last) as filter_:
        stop = e.minimum(images, e.add(start, group))
        here = e.at(gradient, e.mul(filter_, stage.taps))

        def accumulate(piece: Piece, is_first: ir.Value) -> None:
            sums = [e.variable(e.load(here, at, count)) for _, at, count in piece]
            total = e.variable(zero)
            with e.loop(start, stop) as image:
                base = e.at(records, e.mul(image, record), I8)
                x, live = e.at(base, at_x, I8), e.at(base, at_live, I8)
                offsets, counts = e.at(base, at_offset, I8), e.at(base, at_count, I8)
                with _live(e, stage, filter_, live, offsets, counts) as (value, offset):
                    window = e.at(x, offset)
                    every = e.broadcast(value)
                    for sum_, (place, _, count) in zip(sums, piece, strict=True):
                        e.set(sum_, e.fma(every, e.load(window, place, count), e.get(sum_)))
                    e.set(total, e.builder.fadd(e.get(total), value))
            for sum_, (_, at, count) in zip(sums, piece, strict=True):
                e.store(e.get(sum_), here, at, count)
            if stage.bias is not None:
                with e.when(is_first):
                    before = e.load_scalar(bias, filter_)
                    e.store_scalar(e.builder.fadd(before, e.get(total)), bias, filter_)

        _pieces(e, stage, chunk, accumulate)
    return e.finish()


def input_gradient(
    module: ir.Module, stage: ConvolutionStage, chunk: WindowChunk, lanes: int
) -> ir.Function:
    """(weights, live gradient, live offset, live count, gradient of x).

    Part of a filter stays in registers while its live places go by: window += live gradient x
    filter.
    """
    e = Emitter(module, f"{stage.name}.input_gradient", [POINTER] * 5, lanes)
    e.no_alias()
    weights, live, offsets, counts, gradient = e.arguments
    e.fill_zero(gradient, stage.input.size)
    with e.loop(0, stage.output.channels) as filter_:
        here = e.at(weights, e.mul(filter_, stage.taps))

        def scatter(piece: Piece, _: ir.Value) -> None:
            taps = [e.load(here, at, count) for _, at, count in piece]
            with _live(e, stage, filter_, live, offsets, counts) as (value, offset):
                window = e.at(gradient, offset)
                every = e.broadcast(value)
                for tap, (place, _, count) in zip(taps, piece, strict=True):
                    e.store(e.fma(every, tap, e.load(window, place, count)), window, place, count)

        _pieces(e, stage, chunk, scatter)
    return e.finish()


@contextmanager
def _live(
    e: Emitter,
    stage: ConvolutionStage,
    filter_: Index,
    live: ir.Value,
    offsets: ir.Value,
    counts: ir.Value,
) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Loop over the live places of one filter in one image: (gradient, offset of its window)."""
    count = e.builder.zext(e.load_scalar(counts, filter_, I32), I64)
    with e.loop(0, count) as place:
        at = e.add(e.mul(filter_, stage.places), place)
        offset = e.load_scalar(offsets, at, I32)
        yield e.load_scalar(live, at), e.builder.sext(offset, I64)
