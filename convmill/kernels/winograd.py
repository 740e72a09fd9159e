"""Convolution forward by Winograd's minimal filtering F(2x2, 3x3), as Lavin and Gray (2016) use it.

Four outputs of a 3x3 kernel need 16 products instead of 36: with d a 4x4 tile of the input and g
the kernel, the 2x2 outputs are A' [(G g G') * (B' d B)] A, the products summed over channels. A
tile is the window of 2x2 pooling. Factors are 0, 1 and 1/2, so that small integers stay exact.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.convolution import store_window
from convmill.kernels.lang import I64, POINTER, Emitter, Index, cover
from convmill.lower.schedule import WinogradTile, winograd_grid
from convmill.lower.stages import ConvolutionStage

POINTS = 16


def transform_weights(module: ir.Module, lanes: int) -> ir.Function:
    """(copy, channels, copy row, result, first filter, last filter): result = G g G'.

    ``copy`` is the transposed kernel, 9 taps x channels x filters; ``result`` 16 x channels x
    filters, with the same row. Filters are taken by whole vectors from ``first``.
    """
    e = Emitter(module, "winograd.weights", [POINTER, I64, I64, POINTER, I64, I64], lanes)
    e.no_alias()
    copy, channels, row, result, first, last = e.arguments
    step = e.mul(channels, row)
    with e.loop(0, channels) as channel, e.loop(first, last, lanes) as filter_:
        at = e.add(e.mul(channel, row), filter_)
        taps = [
            [e.load(copy, e.add(at, e.mul(step, 3 * i + j))) for j in range(3)] for i in range(3)
        ]
        half = [_weigh(e, [taps[i][j] for i in range(3)]) for j in range(3)]
        for i in range(4):
            for j, value in enumerate(_weigh(e, [half[k][i] for k in range(3)])):
                e.store(value, result, e.add(at, e.mul(step, 4 * i + j)))
    return e.finish()


def _weigh(e: Emitter, g: list[ir.Value]) -> list[ir.Value]:
    """G g: (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)."""
    b, half = e.builder, e.constant(0.5)
    outer = b.fadd(g[0], g[2])
    return [
        g[0],
        b.fmul(half, b.fadd(outer, g[1])),
        b.fmul(half, b.fsub(outer, g[1])),
        g[2],
    ]


def _spread(e: Emitter, d: list[ir.Value]) -> list[ir.Value]:
    """B' d: (d0 - d2, d1 + d2, d2 - d1, d1 - d3)."""
    b = e.builder
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _gather(e: Emitter, m: list[ir.Value]) -> list[ir.Value]:
    """A' m: (m0 + m1 + m2, m1 - m2 - m3)."""
    b = e.builder
    return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def forward(
    module: ir.Module,
    stage: ConvolutionStage,
    tile: WinogradTile,
    lanes: int,
    pack_row: int,
    training: bool,
) -> ir.Function:
    """(x, weights, bias, y, argmax, scratch): y = maxpool(activation(convolution(x) + bias)).

    ``weights`` are transformed, 16 x channels x ``pack_row``. A few rows of tiles at a time go
    through the scratch: their inputs transformed, 16 x tiles x channels, then the products, 16 x
    tiles x filters, of which a block of tiles x filters stays in registers over the channels.
    Where an odd row or column is left, the last tile overlaps the one before it.
    """
    e = Emitter(module, f"{stage.name}.forward", [POINTER] * 6, lanes)
    e.no_alias()
    rows, columns = winograd_grid(stage)
    for start, stop, together in cover(rows, tile.rows):
        with e.loop(start, stop, together) as first:
            tiles = together * columns
            products = e.at(e.arguments[5], POINTS * tiles * stage.input.channels)
            with e.loop(0, together) as line, e.loop(0, columns) as column:
                place = (e.add(first, line), column)
                number = e.add(e.mul(line, columns), column)
                _transform_input(e, stage, place, number, tiles)
            with e.loop(0, POINTS) as point:
                _multiply(e, stage, tile, point, tiles, pack_row, products)
            with e.loop(0, together) as line, e.loop(0, columns) as column:
                place = (e.add(first, line), column)
                number = e.add(e.mul(line, columns), column)
                _transform_output(e, stage, place, number, tiles, pack_row, products, training)
    return e.finish()


def _corner(e: Emitter, stage: ConvolutionStage, place: tuple[Index, Index]) -> tuple[Index, Index]:
    """Row and column of a tile's first output, before pooling."""
    height, width = stage.output.height * stage.pool[0], stage.output.width * stage.pool[1]
    row, column = (e.mul(index, 2) for index in place)
    return e.minimum(row, height - 2), e.minimum(column, width - 2)


def _transform_input(
    e: Emitter, stage: ConvolutionStage, place: tuple[Index, Index], number: Index, tiles: int
) -> None:
    """B' d B of one tile, for all channels."""
    x, scratch = e.arguments[0], e.arguments[5]
    channels = stage.input.channels
    row, column = _corner(e, stage, place)
    corner = e.add(e.mul(row, stage.input.row), e.mul(column, channels))

    def one(channel: Index, count: int) -> None:
        base = e.at(x, e.add(corner, channel))
        target = e.at(scratch, e.add(e.mul(number, channels), channel))
        d = [
            [e.load(base, i * stage.input.row + j * channels, count) for j in range(4)]
            for i in range(4)
        ]
        half = [_spread(e, [d[i][j] for i in range(4)]) for j in range(4)]
        for i in range(4):
            for j, value in enumerate(_spread(e, [half[k][i] for k in range(4)])):
                e.store(value, target, (4 * i + j) * tiles * channels, count)

    e.vectors(channels, one)


def _multiply(
    e: Emitter,
    stage: ConvolutionStage,
    tile: WinogradTile,
    point: Index,
    tiles: int,
    pack_row: int,
    products: ir.Value,
) -> None:
    """products[point] = inputs[point] (tiles x channels) times weights[point]."""
    scratch, weights = e.arguments[5], e.arguments[1]
    channels = stage.input.channels
    inputs = e.at(scratch, e.mul(point, tiles * channels))
    factors = e.at(weights, e.mul(point, channels * pack_row))
    results = e.at(products, e.mul(point, tiles * pack_row))
    blocks = pack_row // e.lanes
    for left, right, vectors in cover(blocks, tile.vectors):
        with e.loop(left * e.lanes, right * e.lanes, vectors * e.lanes) as filter_:
            for start, stop, count in cover(tiles, tile.tiles):
                with e.loop(start, stop, count) as first:
                    sums = [
                        [e.variable(e.constant(0.0)) for _ in range(vectors)] for _ in range(count)
                    ]
                    source = e.at(inputs, e.mul(first, channels))
                    with e.loop(0, channels) as channel:
                        row = e.add(e.mul(channel, pack_row), filter_)
                        taps = [e.load(factors, e.add(row, v * e.lanes)) for v in range(vectors)]
                        for t, totals in enumerate(sums):
                            value = e.load_scalar(source, e.add(channel, t * channels))
                            every = e.broadcast(value)
                            for total, tap in zip(totals, taps, strict=True):
                                e.set(total, e.fma(every, tap, e.get(total)))
                    for t, totals in enumerate(sums):
                        at = e.add(e.mul(e.add(first, t), pack_row), filter_)
                        for v, total in enumerate(totals):
                            e.store(e.get(total), results, e.add(at, v * e.lanes))


def _transform_output(
    e: Emitter,
    stage: ConvolutionStage,
    place: tuple[Index, Index],
    number: Index,
    tiles: int,
    pack_row: int,
    products: ir.Value,
    training: bool,
) -> None:
    """A' m A of one tile plus bias; then activation and pooling, for all filters."""
    _, _, bias, y, argmax, _ = e.arguments
    row, column = _corner(e, stage, place)

    def one(filter_: Index, count: int) -> None:
        at = e.add(e.mul(number, pack_row), filter_)
        m = [
            [e.load(products, e.add(at, (4 * i + j) * tiles * pack_row)) for j in range(4)]
            for i in range(4)
        ]
        half = [_gather(e, [m[i][j] for i in range(4)]) for j in range(4)]
        start = e.load(bias, filter_, count) if stage.bias is not None else e.constant(0.0)
        outputs = [
            e.builder.fadd(value, start)
            for i in range(2)
            for value in _gather(e, [half[k][i] for k in range(4)])
        ]
        kept = argmax if training else None
        if stage.pooled:
            store_window(e, stage, outputs, (*place, filter_), count, y, kept)
            return
        for number_, value in enumerate(outputs):
            i, j = divmod(number_, 2)
            spot = (e.add(row, i), e.add(column, j), filter_)
            store_window(e, stage, [value], spot, count, y, None)

    e.vectors(stage.output.channels, one)
