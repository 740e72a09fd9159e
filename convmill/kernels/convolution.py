"""Convolution forward, with bias, activation and max pooling fused in.

Images are rows x columns x channels inside their halo; a window's row is one run of neighbours in
memory. Weights are read from their transposed copy, taps x filters, vectors along filters.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.lang import I8, POINTER, Emitter, Index, cover
from convmill.kernels.math import activate
from convmill.lower.schedule import ForwardTile
from convmill.lower.stages import ConvolutionStage


def forward(
    module: ir.Module,
    stage: ConvolutionStage,
    tile: ForwardTile,
    lanes: int,
    pack_row: int,
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
                                e,
                                stage,
                                (filter_, row, column),
                                (rows, windows),
                                counts,
                                pack_row,
                                tile.unroll,
                                training,
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
        for r in range(size[0])
        for c in range(size[1])
        for i in range(stage.pool[0])
        for j in range(stage.pool[1])
    ]
    sums = []
    for v, count in enumerate(counts):
        at = e.add(filter_, v * e.lanes)
        start = e.load(bias, at, count) if stage.bias is not None else e.constant(0.0)
        sums.append([e.variable(start) for _ in places])
    origin = e.add(e.mul(row, stage.pool[0] * step_row), e.mul(column, stage.pool[1] * step_column))
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
            for v, count in enumerate(counts):
                first = (r * size[1] + c) * area
                window = [e.get(total) for total in sums[v][first : first + area]]
                place = (e.add(row, r), e.add(column, c), e.add(filter_, v * e.lanes))
                store_window(e, stage, window, place, count, y, argmax if training else None)


def store_window(
    e: Emitter,
    stage: ConvolutionStage,
    window: list[ir.Value],
    place: tuple[Index, Index, Index],
    count: int,
    y: ir.Value,
    argmax: ir.Value | None,
) -> None:
    """Activate the sums of one pooling window, store the maximum at ``place`` (row, column,
    filter) of the output and, where ``argmax`` is given, which of them it was."""
    row, column, channel = place
    pixel = e.add(e.mul(row, stage.output.width), column)
    target = e.add(
        stage.output.origin,
        e.mul(row, stage.output.row),
        e.mul(column, stage.output.channels),
    )
    value, winner = _maximum(e, stage, window)
    e.store(value, y, e.add(target, channel), count)
    if argmax is not None and stage.pooled:
        at = e.add(e.mul(pixel, stage.output.channels), channel)
        e.store(e.builder.trunc(winner, e.bytes), argmax, at, count, I8)


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
