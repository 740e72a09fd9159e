"""Convolution forward by Winograd's minimal filtering F(2x2, 3x3), as Lavin and Gray (2016) use it.

Four outputs of a 3x3 kernel need 16 products instead of 36: with d a 4x4 tile of the input and g
the kernel, the 2x2 outputs are A' [(G g G') * (B' d B)] A, the products summed over channels. A
tile is the window of 2x2 pooling. Factors are 0, 1 and 1/2, so that small integers stay exact.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.direct import biases, store_window
from convmill.kernels.lang import I64, POINTER, Emitter, Index, cover
from convmill.lower.choices import Winograd
from convmill.lower.launches import of_matrix, value
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


def scratch(stage: ConvolutionStage, tile: Winograd, lanes: int) -> int:
    """Float32 elements that one thread needs for transformed tiles: inputs, then products."""
    blocks = -(-stage.output.channels // lanes)
    return POINTS * tile.rows * tile.grid[1] * (stage.input.channels + blocks * lanes)


def forward(k: Kernel) -> None:
    """y = maxpool(activation(convolution(x) + bias)), and the place of each maximum.

    Weights are transformed, 16 x channels x filters. A few rows of tiles at a time go through the
    scratch: their inputs transformed, 16 x tiles x channels, then the products, 16 x tiles x
    filters, of which a block of tiles x filters stays in registers over the channels. Where an odd
    row or column is left, the last tile overlaps the one before it.
    """
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.forward
    assert isinstance(tile, Winograd)
    rows, columns = tile.grid
    for start, stop, together in cover(rows, tile.rows):
        with k.loop(start, stop, together) as first:
            tiles = together * columns
            products = k.at(k.told("scratch"), POINTS * tiles * stage.input.channels)
            with k.loop(0, together) as line, k.loop(0, columns) as column:
                place = (k.add(first, line), column)
                number = k.add(k.mul(line, columns), column)
                _transform_input(k, stage, place, number, tiles)
            with k.loop(0, POINTS) as point:
                _multiply(k, stage, tile, point, tiles, products)
            with k.loop(0, together) as line, k.loop(0, columns) as column:
                place = (k.add(first, line), column)
                number = k.add(k.mul(line, columns), column)
                _transform_output(k, stage, place, number, tiles, products)


def _corner(e: Emitter, stage: ConvolutionStage, place: tuple[Index, Index]) -> tuple[Index, Index]:
    """Row and column of a tile's first output, before pooling."""
    height, width = stage.computed
    row, column = (e.mul(index, 2) for index in place)
    return e.minimum(row, height - 2), e.minimum(column, width - 2)


def _transform_input(
    k: Kernel, stage: ConvolutionStage, place: tuple[Index, Index], number: Index, tiles: int
) -> None:
    """B' d B of one tile, for all channels."""
    x, room = k.pointer(value(stage.input)), k.told("scratch")
    channels = stage.input.channels
    row, column = _corner(k, stage, place)
    corner = k.add(k.mul(row, stage.input.row), k.mul(column, channels), stage.corner)

    def spread(channel: Index, count: int) -> None:
        base = k.at(x, k.add(corner, channel))
        target = k.at(room, k.add(k.mul(number, channels), channel))
        d = [
            [k.load(base, i * stage.input.row + j * channels, count) for j in range(4)]
            for i in range(4)
        ]
        half = [_spread(k, [d[i][j] for i in range(4)]) for j in range(4)]
        for i in range(4):
            for j, one in enumerate(_spread(k, [half[n][i] for n in range(4)])):
                k.store(one, target, (4 * i + j) * tiles * channels, count)

    k.vectors(channels, spread)


def _multiply(
    k: Kernel,
    stage: ConvolutionStage,
    tile: Winograd,
    point: Index,
    tiles: int,
    products: ir.Value,
) -> None:
    """products[point] = inputs[point] (tiles x channels) times weights[point]."""
    room, weights = k.told("scratch"), k.pointer(of_matrix("transform", stage.kernel))
    channels, pack_row = stage.input.channels, k.build.network.matrices[stage.kernel].pack_row
    inputs = k.at(room, k.mul(point, tiles * channels))
    factors = k.at(weights, k.mul(point, channels * pack_row))
    results = k.at(products, k.mul(point, tiles * pack_row))
    for filter_, counts in k.runs(pack_row, tile.vectors):
        vectors = len(counts)
        for start, stop, count in cover(tiles, tile.tiles):
            with k.loop(start, stop, count) as first:
                sums = [
                    [k.variable(k.constant(0.0)) for _ in range(vectors)] for _ in range(count)
                ]
                source = k.at(inputs, k.mul(first, channels))
                with k.loop(0, channels) as channel:
                    row = k.add(k.mul(channel, pack_row), filter_)
                    taps = [k.load(factors, k.add(row, v * k.lanes)) for v in range(vectors)]
                    for t, totals in enumerate(sums):
                        every = k.broadcast(k.load_scalar(source, k.add(channel, t * channels)))
                        for total, tap in zip(totals, taps, strict=True):
                            k.set(total, k.fma(every, tap, k.get(total)))
                for t, totals in enumerate(sums):
                    at = k.add(k.mul(k.add(first, t), pack_row), filter_)
                    for v, total in enumerate(totals):
                        k.store(k.get(total), results, k.add(at, v * k.lanes))


def _transform_output(
    k: Kernel,
    stage: ConvolutionStage,
    place: tuple[Index, Index],
    number: Index,
    tiles: int,
    products: ir.Value,
) -> None:
    """A' m A of one tile plus bias; then activation and pooling, for all filters."""
    pack_row = k.build.network.matrices[stage.kernel].pack_row
    row, column = _corner(k, stage, place)

    def finish(filter_: Index, count: int) -> None:
        at = k.add(k.mul(number, pack_row), filter_)
        m = [
            [k.load(products, k.add(at, (4 * i + j) * tiles * pack_row)) for j in range(4)]
            for i in range(4)
        ]
        half = [_gather(k, [m[i][j] for i in range(4)]) for j in range(4)]
        start = biases(k, stage, filter_, count)
        outputs = [
            k.builder.fadd(one, start)
            for i in range(2)
            for one in _gather(k, [half[n][i] for n in range(4)])
        ]
        if stage.pooled:
            store_window(k, stage, outputs, (*place, filter_), count)
            return
        for which, one in enumerate(outputs):
            i, j = divmod(which, 2)
            spot = (k.add(row, i), k.add(column, j), filter_)
            store_window(k, stage, [one], spot, count)

    k.vectors(stage.output.channels, finish)
