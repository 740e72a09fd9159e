"""Convolution: forward with pooling fused in, and a backward pass over live places alone.

Layouts: images are rows x columns x channels inside their halo; a filter is kernel height x
(kernel width x channels in), so that each row of a window is one run of neighbours in memory, for
weights and images alike. The forward kernel reads a transposed copy of the weights, taps x filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from convmill.kernels.lang import I8, I32, I64, POINTER, Emitter, Index
from convmill.kernels.math import activate, gate
from convmill.lower.schedule import ForwardTile, WindowChunk
from convmill.lower.stages import ConvolutionStage


def cover(total: int, size: int, tail: bool = False) -> list[tuple[int, int, int]]:
    """Cut ``range(total)`` into (start, stop, step) with at most one loop and one remainder.

    With ``tail`` the last piece always stands alone, because its last vector is a partial one.
    """
    full = total - total % size
    if tail and full == total and full > size:
        return [(0, total - size, size), (total - size, total, size)]
    pieces = [(0, full, size)] if full else []
    return [*pieces, (full, total, total - full)] if full < total else pieces


def forward(
    module: ir.Module, stage: ConvolutionStage, tile: ForwardTile, lanes: int, pack_row: int,
    training: bool,
) -> ir.Function:
    """(x, weights, bias, y, argmax): y = maxpool(activation(convolution(x) + bias)).

    A tile of places x filters stays in registers over all taps; then the maximum of each window
    is taken there, and with ``training`` its place kept as one byte.
    """
    e = Emitter(module, f"{stage.name}.forward", [POINTER] * 5, lanes)
    e.no_alias()
    blocks = -(-stage.output.channels // lanes)
    for start, stop, vectors in cover(blocks, tile.vectors, stage.output.channels % lanes > 0):
        last = stage.output.channels - (stop - 1) * lanes
        counts = [lanes] * (vectors - 1) + [last if stop == blocks else lanes]
        with e.loop(start * lanes, stop * lanes, vectors * lanes) as filter_:
            for top, bottom, rows in cover(stage.output.height, tile.rows):
                with e.loop(top, bottom, rows) as row:
                    for left, right, windows in cover(stage.output.width, tile.windows):
                        with e.loop(left, right, windows) as column:
                            _tile(
                                e, stage, (filter_, row, column), (rows, windows), counts,
                                pack_row, tile.unroll, training,
                            )
    return e.finish()


def _tile(
    e: Emitter,
    stage: ConvolutionStage,
    corner: tuple[Index, Index, Index],
    size: tuple[int, int],
    counts: list[int],
    pack_row: int,
    unroll: int,
    training: bool,
) -> None:
    """One register tile: ``size`` windows (rows, columns) times ``len(counts)`` vectors."""
    x, weights, bias, _, _ = e.arguments
    filter_, row, column = corner
    step_row = stage.strides[0] * stage.input.row
    step_column = stage.strides[1] * stage.input.channels
    places = [
        (r * stage.pool[0] + i) * step_row + (c * stage.pool[1] + j) * step_column
        for r in range(size[0]) for c in range(size[1])
        for i in range(stage.pool[0]) for j in range(stage.pool[1])
    ]
    sums = []
    for v, count in enumerate(counts):
        at = e.add(filter_, v * e.lanes)
        start = e.load(bias, at, count) if stage.bias is not None else e.constant(0.0)
        sums.append([e.variable(start) for _ in places])
    origin = e.add(
        e.mul(row, stage.pool[0] * step_row), e.mul(column, stage.pool[1] * step_column)
    )
    with e.loop(0, stage.kernel_size[0]) as tap_row:
        line = e.add(origin, e.mul(tap_row, stage.input.row))
        first = e.mul(tap_row, stage.window_row)
        with e.loop(0, stage.window_row, unroll) as run:
            for u in range(unroll):
                tap = e.mul(e.add(first, run, u), pack_row)
                taps = [
                    e.load(weights, e.add(tap, filter_, v * e.lanes)) for v in range(len(counts))
                ]
                base = e.at(x, e.add(line, run))
                for p, place in enumerate(places):
                    value = e.broadcast(e.load_scalar(base, place + u))
                    for v, weight in enumerate(taps):
                        e.set(sums[v][p], e.fma(value, weight, e.get(sums[v][p])))
    _finish_tile(e, stage, corner, size, counts, sums, training)


def _finish_tile(
    e: Emitter,
    stage: ConvolutionStage,
    corner: tuple[Index, Index, Index],
    size: tuple[int, int],
    counts: list[int],
    sums: list[list[ir.Value]],
    training: bool,
) -> None:
    """Activate, take each window's maximum, store it and (in training) its place."""
    filter_, row, column = corner
    *_, y, argmax = e.arguments
    area = stage.pool[0] * stage.pool[1]
    for r in range(size[0]):
        for c in range(size[1]):
            line, place = e.add(row, r), e.add(column, c)
            pixel = e.add(e.mul(line, stage.output.width), place)
            target = e.add(
                stage.output.origin,
                e.mul(line, stage.output.row),
                e.mul(place, stage.output.channels),
            )
            for v, count in enumerate(counts):
                first = (r * size[1] + c) * area
                window = [e.get(total) for total in sums[v][first : first + area]]
                value, winner = _maximum(e, stage, window)
                channel = e.add(filter_, v * e.lanes)
                e.store(value, y, e.add(target, channel), count)
                if training and stage.pooled:
                    at = e.add(e.mul(pixel, stage.output.channels), channel)
                    narrow = e.builder.trunc(winner, e.bytes)
                    e.store(narrow, argmax, at, count, I8)


def _maximum(
    e: Emitter, stage: ConvolutionStage, window: list[ir.Value]
) -> tuple[ir.Value, ir.Value]:
    """Maximum of activated values and the index of the first that reaches it.

    relu and linear never change the order, so that they act on the maximum alone: where relu
    makes a tie, it is at zero and no gradient flows.
    """
    b = e.builder
    late = stage.activation.name in ("linear", "relu") and stage.activation.ceiling is None
    if not late:
        window = [activate(e, stage.activation, value) for value in window]
    best, winner = window[0], e.whole(0)
    for place, value in enumerate(window[1:], start=1):
        larger = b.fcmp_ordered(">", value, best)
        best = b.select(larger, value, best)
        winner = b.select(larger, e.whole(place), winner)
    return (activate(e, stage.activation, best) if late else best), winner


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
            gated = gate(
                e, stage.activation, e.load(y, here, count), e.load(gradient, here, count)
            )
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
    e: Emitter, stage: ConvolutionStage, chunk: WindowChunk, body: Callable[[Piece, bool], None]
) -> None:
    """Call ``body`` for each part of a filter that fits the registers (the last flag: first part).

    The parts are loops over kernel rows and over runs of vectors; only the last run has a tail.
    """
    lanes, length = e.lanes, stage.window_row
    vectors = -(-length // lanes)
    for top, bottom, rows in cover(stage.kernel_size[0], chunk.rows):
        for start, stop, wide in cover(vectors, chunk.vectors, length % lanes > 0):
            last = length - (stop - 1) * lanes if stop == vectors else lanes
            counts = [lanes] * (wide - 1) + [last]
            with e.loop(top, bottom, rows) as row, e.loop(
                start * lanes, stop * lanes, wide * lanes
            ) as run:
                piece = [
                    (
                        e.add(e.mul(e.add(row, r), stage.input.row), run, v * lanes),
                        e.add(e.mul(e.add(row, r), length), run, v * lanes),
                        count,
                    )
                    for r in range(rows) for v, count in enumerate(counts)
                ]
                body(piece, top == 0 and start == 0)


def weight_gradient(
    module: ir.Module, stage: ConvolutionStage, chunk: WindowChunk, lanes: int, group: int,
    record: tuple[int, int, int, int, int],
) -> ir.Function:
    """(records, images, gradient, bias gradient, first filter, last filter).

    For each filter, part of its gradient stays in registers while the live places of ``group``
    images go by: gradient += live gradient x window. Images are taken in order, so that the sum
    does not depend on threads. ``record`` is (length of a record, offsets in it of x, live
    gradient, live offset and live count), in bytes.
    """
    e = Emitter(module, f"{stage.name}.weight_gradient", [POINTER, I64, POINTER, POINTER, I64, I64],
                lanes)
    records, images, gradient, bias, first, last = e.arguments
    length, at_x, at_live, at_offset, at_count = record
    with e.loop(first, last) as filter_:
        here = e.at(gradient, e.mul(filter_, stage.taps))
        e.fill_zero(here, stage.taps)
        if stage.bias is not None:
            e.store_scalar(ir.Constant(e.vector.element, 0.0), bias, filter_)
    with e.loop(0, images, group) as start, e.loop(first, last) as filter_:
        stop = e.minimum(images, e.add(start, group))
        here = e.at(gradient, e.mul(filter_, stage.taps))

        def accumulate(piece: Piece, with_bias: bool) -> None:
            sums = [e.variable(e.load(here, at, count)) for _, at, count in piece]
            with_bias = with_bias and stage.bias is not None
            total = e.variable(e.load_scalar(bias, filter_)) if with_bias else None
            with e.loop(start, stop) as image:
                base = e.at(records, e.mul(image, length), I8)
                x, live = e.at(base, at_x, I8), e.at(base, at_live, I8)
                offsets, counts = e.at(base, at_offset, I8), e.at(base, at_count, I8)
                with _live(e, stage, filter_, live, offsets, counts) as (value, offset):
                    window = e.at(x, offset)
                    every = e.broadcast(value)
                    for total_, (place, _, count) in zip(sums, piece, strict=True):
                        e.set(total_, e.fma(every, e.load(window, place, count), e.get(total_)))
                    if total is not None:
                        e.set(total, e.builder.fadd(e.get(total), value))
            for total_, (_, at, count) in zip(sums, piece, strict=True):
                e.store(e.get(total_), here, at, count)
            if total is not None:
                e.store_scalar(e.get(total), bias, filter_)

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

        def scatter(piece: Piece, _: bool) -> None:
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
