"""3x3 convolutions by Winograd's minimal filtering F(m x m, 3x3), as Lavin and Gray (2016) use it.

m x m outputs of a kernel need (m + 2)^2 products instead of 9 m^2: with d a tile of the input and g
the kernel, they are A' [(G g G') * (B' d B)] A, the products summed over channels. With m = 2
factors are 0, 1 and 1/2, so that small integers stay exact; m = 4 has the points 0, 1, -1, 2, -2.

The gradient of the input is such a convolution too: of the gradients of the output between zeros,
with the kernel turned around and filters in the place of channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.copies import ends
from convmill.kernels.direct import biases, store_window
from convmill.kernels.everywhere import lay_out, room_size
from convmill.kernels.lang import Index, cover
from convmill.kernels.transforms import GATHER, WEIGH, Vectors, spread_tile, square
from convmill.lower.choices import Winograd
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage
from convmill.lower.subgrids import room_around

# Weights -----------------------------------------------------------------------------------------


def transform_weights(k: Kernel) -> None:
    """transform = G g G' for a share of the filters, points x channels x filters: of the transposed
    copy, taps x channels x filters."""
    matrix = k.build.matrix(k.launch)
    channels, row, weigh = matrix.columns // 9, matrix.pack_row, WEIGH[matrix.outputs]
    source, target = ends(k)
    step = channels * row
    with (
        k.loop(0, channels) as channel,
        k.loop(k.told("first"), k.told("last"), k.lanes) as filter_,
    ):
        at = k.add(k.mul(channel, row), filter_)
        taps = [[k.load(source, k.add(at, step * (3 * i + j))) for j in range(3)] for i in range(3)]
        _store_square(k, square(k, weigh, taps), target, at, step)


def turn_weights(k: Kernel) -> None:
    """turned = G g G' for a share of the filters, points x filters x channels: of the parameter,
    filters x taps x channels, with its taps turned around."""
    matrix = k.build.matrix(k.launch)
    channels, weigh = matrix.columns // 9, WEIGH[matrix.turned_outputs]
    source, target = ends(k)
    step = matrix.rows * matrix.turned_row
    with k.loop(k.told("first"), k.told("last")) as filter_:
        line = k.at(source, k.mul(filter_, matrix.columns))

        def turn(channel: Index, count: int, filter_: Index = filter_) -> None:
            taps = [
                [k.load(line, k.add(channel, channels * (8 - 3 * i - j)), count) for j in range(3)]
                for i in range(3)
            ]
            at = k.add(k.mul(filter_, matrix.turned_row), channel)
            _store_square(k, square(k, weigh, taps), target, at, step)

        k.vectors(channels, turn)


def _store_square(
    k: Kernel, square: list[Vectors], target: ir.Value, at: Index, step: Index
) -> None:
    for point, one in enumerate(one for row in square for one in row):
        k.store(one, target, k.add(at, k.mul(step, point)))


# Planes ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plane:
    """What is convolved with what. The window of the first output begins at ``x``, its rows ``row``
    floats apart, its columns ``channels``; ``weights`` are points x channels x ``weight_row``, of
    which ``filters`` count. Outputs are in windows of ``pool``, ``size`` of them."""

    tile: Winograd
    x: ir.Value
    row: int
    channels: int
    weights: ir.Value
    weight_row: int
    filters: int
    size: tuple[int, int]
    pool: tuple[int, int]
    room: ir.Value

    @property
    def windows(self) -> tuple[int, int]:
        """Windows in a tile."""
        return self.tile.outputs // self.pool[0], self.tile.outputs // self.pool[1]


# Takes the windows of a tile, by rows, each with its outputs by rows, for a vector of filters:
# (row and column of the first window, windows, filter, lanes).
_Put = Callable[[tuple[Index, Index], list[list[Vectors]], Index, int], None]


def scratch(tile: Winograd, channels: int, filters: int, lanes: int) -> int:
    """Float32 elements that one thread needs for transformed tiles: inputs, then products."""
    blocks = -(-filters // lanes)
    return tile.points * tile.rows * tile.grid[1] * (channels + blocks * lanes)


def forward(k: Kernel) -> None:
    """y = maxpool(activation(convolution(x) + bias)), and the place of each maximum."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.forward
    assert isinstance(tile, Winograd)
    plane = _Plane(
        tile,
        k.at(k.pointer(value(stage.input)), stage.corner),
        stage.input.row,
        stage.input.channels,
        k.pointer(of_matrix("transform", stage.kernel)),
        k.build.network.matrices[stage.kernel].pack_row,
        stage.output.channels,
        (stage.output.height, stage.output.width),
        stage.pool,
        k.told("scratch"),
    )

    def put(
        first: tuple[Index, Index], windows: list[list[Vectors]], filter_: Index, count: int
    ) -> None:
        start = biases(k, stage, filter_, count)
        for i, line in enumerate(windows):
            for j, window in enumerate(line):
                spot = (k.add(first[0], i), k.add(first[1], j), filter_)
                store_window(k, stage, [k.builder.fadd(one, start) for one in window], spot, count)

    _convolve(k, plane, put)


def back_scratch(stage: ConvolutionStage, tile: Winograd, lanes: int) -> int:
    """Float32 elements for the gradients between zeros, and for what is transformed."""
    transformed = scratch(tile, stage.output.channels, stage.input.channels, lanes)
    return room_size(stage) + transformed


def input_gradient(k: Kernel) -> None:
    """gradient of x, from gradients before the activation at all places."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.input_gradient
    assert isinstance(tile, Winograd)
    room, tensor, filters = room_around(stage), stage.input, stage.output.channels
    lay_out(k, stage, room)
    line = room.extent[1] * filters
    # A place's window begins where its last tap reads.
    above, left = (room.border[axis] + stage.padding[2 * axis] - 2 for axis in (0, 1))
    plane = _Plane(
        tile,
        k.at(k.told("scratch"), above * line + left * filters),
        line,
        filters,
        k.pointer(of_matrix("turned", stage.kernel)),
        k.build.network.matrices[stage.kernel].turned_row,
        tensor.channels,
        (tensor.height, tensor.width),
        (1, 1),
        k.at(k.told("scratch"), room_size(stage)),
    )
    behind = k.pointer(gradient(tensor))

    def put(
        first: tuple[Index, Index], windows: list[list[Vectors]], channel: Index, count: int
    ) -> None:
        start = k.add(k.mul(first[0], tensor.row), k.mul(first[1], tensor.channels))
        for i, row in enumerate(windows):
            for j, (one,) in enumerate(row):
                at = tensor.origin + i * tensor.row + j * tensor.channels
                k.store(one, behind, k.add(start, channel, at), count)

    _convolve(k, plane, put)


def _convolve(k: Kernel, plane: _Plane, put: _Put) -> None:
    """A few rows of tiles at a time go through the scratch: their inputs transformed, points x
    tiles x channels, then the products, points x tiles x filters, of which a block of tiles x
    filters stays in registers over the channels. Where outputs are left, the last tile overlaps the
    one before it."""
    tile = plane.tile
    rows, columns = tile.grid
    for start, stop, together in cover(rows, tile.rows):
        with k.loop(start, stop, together) as top:
            tiles = together * columns
            products = k.at(plane.room, tile.points * tiles * plane.channels)
            with k.loop(0, together) as line, k.loop(0, columns) as column:
                first = _first(k, plane, (k.add(top, line), column))
                _transform_input(k, plane, first, k.add(k.mul(line, columns), column), tiles)
            with k.loop(0, tile.points) as point:
                _multiply(k, plane, point, tiles, products)
            with k.loop(0, together) as line, k.loop(0, columns) as column:
                first = _first(k, plane, (k.add(top, line), column))
                number = k.add(k.mul(line, columns), column)
                _transform_output(k, plane, first, number, tiles, products, put)


def _first(k: Kernel, plane: _Plane, place: tuple[Index, Index]) -> tuple[Index, Index]:
    """Row and column of a tile's first window."""
    row, column = (
        k.minimum(k.mul(index, windows), size - windows)
        for index, windows, size in zip(place, plane.windows, plane.size, strict=True)
    )
    return row, column


def _transform_input(
    k: Kernel, plane: _Plane, first: tuple[Index, Index], number: Index, tiles: int
) -> None:
    """B' d B of one tile, for all channels."""
    channels = plane.channels
    corner = k.add(
        k.mul(first[0], plane.pool[0] * plane.row), k.mul(first[1], plane.pool[1] * channels)
    )
    target = k.at(plane.room, k.mul(number, channels))
    source = (plane.x, corner, plane.row, channels)
    spread_tile(k, plane.tile.outputs, source, target, tiles * channels)


def _multiply(k: Kernel, plane: _Plane, point: Index, tiles: int, products: ir.Value) -> None:
    """products[point] = inputs[point] (tiles x channels) times weights[point]."""
    channels, tile, row = plane.channels, plane.tile, plane.weight_row
    inputs = k.at(plane.room, k.mul(point, tiles * channels))
    factors = k.at(plane.weights, k.mul(point, channels * row))
    results = k.at(products, k.mul(point, tiles * row))
    for filter_, counts in k.runs(row, tile.vectors):
        vectors = len(counts)
        for start, stop, count in cover(tiles, tile.tiles):
            with k.loop(start, stop, count) as first:
                sums = [[k.variable(k.constant(0.0)) for _ in range(vectors)] for _ in range(count)]
                source = k.at(inputs, k.mul(first, channels))
                with k.loop(0, channels) as channel:
                    at = k.add(k.mul(channel, row), filter_)
                    taps = [k.load(factors, k.add(at, v * k.lanes)) for v in range(vectors)]
                    for t, totals in enumerate(sums):
                        every = k.broadcast(k.load_scalar(source, k.add(channel, t * channels)))
                        for total, tap in zip(totals, taps, strict=True):
                            k.set(total, k.fma(every, tap, k.get(total)))
                for t, totals in enumerate(sums):
                    at = k.add(k.mul(k.add(first, t), row), filter_)
                    for v, total in enumerate(totals):
                        k.store(k.get(total), results, k.add(at, v * k.lanes))


def _transform_output(
    k: Kernel,
    plane: _Plane,
    first: tuple[Index, Index],
    number: Index,
    tiles: int,
    products: ir.Value,
    put: _Put,
) -> None:
    """A' m A of one tile, for all filters, by windows."""
    side, outputs, (high, wide) = plane.tile.outputs + 2, plane.tile.outputs, plane.pool
    step = tiles * plane.weight_row

    def finish(filter_: Index, count: int) -> None:
        at = k.add(k.mul(number, plane.weight_row), filter_)
        m = [
            [k.load(products, k.add(at, (side * i + j) * step)) for j in range(side)]
            for i in range(side)
        ]
        y = square(k, GATHER[outputs], m)
        windows = [
            [
                [y[i + down][j + along] for down in range(high) for along in range(wide)]
                for j in range(0, outputs, wide)
            ]
            for i in range(0, outputs, high)
        ]
        put(first, windows, filter_, count)

    k.vectors(plane.filters, finish)
