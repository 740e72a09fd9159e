"""Backward through a convolution, over live places alone.

A filter is kernel height x (kernel width x channels in), so that each row of a window is one run of
neighbours in memory (or several where the kernel is dilated or has groups), for weights and images
alike. Behind max pooling at most one place of a window
has a gradient, and relu kills about half of those: for each filter the live ones stand in a list,
and both backward kernels run along the lists with full vectors over the window's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.direct import maxima
from convmill.kernels.functions import gate
from convmill.kernels.lang import F32, I8, I32, I64, Emitter, Index
from convmill.kernels.pieces import Piece, pieces
from convmill.lower.choices import Live
from convmill.lower.launches import gradient, live_lists, of_matrix, value
from convmill.lower.stages import ConvolutionStage


def places(k: Kernel) -> None:
    """Lists of the places that matter: for each filter, the gradients before the activation that
    are not zero, in row-major order, each with the offset of its window in the input.
    """
    stage, e, b = k.stage(ConvolutionStage), k, k.builder
    y, behind = k.pointer(value(stage.output)), k.pointer(gradient(stage.output))
    live, offsets, counts = map(k.pointer, live_lists(stage.output))
    step_row = stage.pool[0] * stage.strides[0] * stage.input.row
    step_column = stage.pool[1] * stage.strides[1] * stage.input.channels
    with e.loop(0, stage.output.channels) as channel:
        e.store_scalar(ir.Constant(I32, 0), counts, channel, I32)
    values, windows = e.scratch(e.vector.element, e.lanes), e.scratch(I32, e.lanes)
    with e.loop(0, stage.output.height) as row, e.loop(0, stage.output.width) as column:
        at = e.add(
            stage.output.origin, e.mul(row, stage.output.row), e.mul(column, stage.output.channels)
        )
        pixel = e.mul(e.add(e.mul(row, stage.output.width), column), stage.output.channels)
        window = e.add(e.mul(row, step_row), e.mul(column, step_column), stage.corner)
        start = e.broadcast(b.trunc(e.index(window), I32))

        def keep(offset: Index, count: int) -> None:
            here = e.add(at, offset)
            gated = gate(e, stage.activation, e.load(y, here, count), e.load(behind, here, count))
            place = start
            if stage.pooled:
                winner = e.load(k.pointer(maxima(stage)), e.add(pixel, offset), count, I8)
                place = b.add(start, _window_offset(e, stage, b.zext(winner, e.integers)))
            if k.build.machine.scatters:
                _scatter(e, stage, offset, count, (gated, place), (live, offsets, counts))
                return
            e.store(gated, values, 0)
            e.store(place, windows, 0, None, I32)
            with e.loop(0, count) as lane:
                channel = e.add(offset, lane)
                _append(e, stage, channel, lane, (values, windows), (live, offsets, counts))

        e.vectors(stage.output.channels, keep)


def _scatter(
    e: Emitter,
    stage: ConvolutionStage,
    channel: Index,
    count: int,
    source: tuple[ir.Value, ir.Value],
    lists: tuple[ir.Value, ir.Value, ir.Value],
) -> None:
    """Append the live ones of ``count`` lanes, each to the list of its own filter."""
    b, (value, place), (live, offsets, counts) = e.builder, source, lists
    used = e.load(counts, channel, count, I32)
    starts = ir.Constant(e.integers, [lane * stage.places for lane in range(e.lanes)])
    first = e.broadcast(b.trunc(e.index(e.mul(channel, stage.places)), I32))
    at = b.add(b.add(used, starts), first)
    alive = b.and_(b.fcmp_unordered("!=", value, e.constant(0.0)), e.mask(count))
    e.scatter(value, live, at, alive)
    e.scatter(place, offsets, at, alive)
    e.store(b.add(used, b.zext(alive, e.integers)), counts, channel, count, I32)


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


def weight_gradient(k: Kernel) -> None:
    """For each filter of a share, gradient += live gradient x window, and the bias' likewise.

    Part of a filter's gradient stays in registers while the live places of some images go by.
    Images are taken in order, so that the sum does not depend on threads; it begins at zero for the
    first images of a batch, and goes on from what is stored for later ones.
    """
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    chunk = stage.choice.weight_gradient
    assert isinstance(chunk, Live)
    images, first, last = k.told("images"), k.told("first"), k.told("last")
    result = k.pointer(of_matrix("gradient_of", stage.kernel))
    zero = ir.Constant(F32, 0.0)
    bias = None if stage.bias is None else k.pointer(of_matrix("gradient_of", stage.bias))
    k.zero_if_fresh(result, stage.taps)
    if bias is not None:
        k.zero_if_fresh(bias, 1)
    with k.loop(0, images, chunk.images) as start, k.loop(first, last) as filter_:
        stop = k.minimum(images, k.add(start, chunk.images))
        here = k.at(result, k.mul(filter_, stage.taps))

        def accumulate(piece: Piece, is_first: ir.Value) -> None:
            sums = [k.variable(k.load(here, at, count)) for _, at, count in piece]
            total = k.variable(zero)
            with k.loop(start, stop) as image:
                x = k.at(k.record(value(stage.input), image), _first_channel(k, stage, filter_))
                live, offsets, counts = (k.record(one, image) for one in live_lists(stage.output))
                with _live(k, stage, filter_, live, offsets, counts) as (one, offset):
                    window = k.at(x, offset)
                    every = k.broadcast(one)
                    for sum_, (place, _, count) in zip(sums, piece, strict=True):
                        k.set(sum_, k.fma(every, k.load(window, place, count), k.get(sum_)))
                    k.set(total, k.builder.fadd(k.get(total), one))
            for sum_, (_, at, count) in zip(sums, piece, strict=True):
                k.store(k.get(sum_), here, at, count)
            if bias is not None:
                with k.when(is_first):
                    before = k.load_scalar(bias, filter_)
                    k.store_scalar(k.builder.fadd(before, k.get(total)), bias, filter_)

        pieces(k, stage, (chunk.rows, chunk.vectors), accumulate)


def input_gradient(k: Kernel) -> None:
    """window += live gradient x filter, for each live place of each filter; part of a filter stays
    in registers while its places go by."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    chunk = stage.choice.input_gradient
    assert isinstance(chunk, Live)
    weights = k.pointer(of_matrix("parameter", stage.kernel))
    live, offsets, counts = map(k.pointer, live_lists(stage.output))
    result = k.pointer(gradient(stage.input))
    k.fill_zero(result, stage.input.size)
    with k.loop(0, stage.output.channels) as filter_:
        here = k.at(weights, k.mul(filter_, stage.taps))
        read = k.at(result, _first_channel(k, stage, filter_))

        def scatter(piece: Piece, is_first: ir.Value) -> None:
            taps = [k.load(here, at, count) for _, at, count in piece]
            with _live(k, stage, filter_, live, offsets, counts) as (one, offset):
                window = k.at(read, offset)
                every = k.broadcast(one)
                for tap, (place, _, count) in zip(taps, piece, strict=True):
                    k.store(k.fma(every, tap, k.load(window, place, count)), window, place, count)

        pieces(k, stage, (chunk.rows, chunk.vectors), scatter)


def _first_channel(e: Emitter, stage: ConvolutionStage, filter_: Index) -> Index:
    """The first of the channels that a filter reads."""
    if stage.groups == 1:
        return 0
    filters = stage.output.channels // stage.groups
    return e.mul(e.divide(filter_, filters), stage.channels_read)


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
