"""The gradient of a 3x3 convolution's weights by Winograd's minimal filtering F(3x3, m x m).

m x m gradients of outputs need (m + 2)^2 products for a filter and a channel instead of 9 m^2: the
nine gradients are A' [(G d G') * (B' x B)] A, d being a tile of gradients and x the inputs that it
reads. The products are summed over the tiles of some images before they are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import Index, cover
from convmill.kernels.transforms import GATHER_WEIGHTS, WEIGH_GRADIENTS, spread_tile, square
from convmill.lower.choices import WinogradWeights
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage


@dataclass(frozen=True)
class _Rooms:
    """Where in the scratch things lie: inputs, points x tiles x channels; gradients, points x tiles
    x filters; sums, points x filters x channels, whole vectors of them."""

    inputs: ir.Value
    gradients: ir.Value
    sums: ir.Value


def scratch(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> int:
    """Float32 elements that one thread needs."""
    return sum(_sizes(stage, choice, lanes))


def _sizes(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> tuple[int, int, int]:
    """Of the rooms."""
    tiles = choice.points * choice.tiles
    sums = choice.points * choice.filters * _row(stage, lanes)
    return tiles * stage.input.channels, tiles * choice.filters, sums


def _row(stage: ConvolutionStage, lanes: int) -> int:
    """Float32 elements from one filter's sums to the next."""
    return -(-stage.input.channels // lanes) * lanes


def weight_gradient(k: Kernel) -> None:
    """gradient[filter] += gradients of outputs x windows there, over all images in their order:
    from zero for the first images of a batch, else from what is stored."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    choice = stage.choice.weight_gradient
    assert isinstance(choice, WinogradWeights)
    first, last, images = k.told("first"), k.told("last"), k.told("images")
    result = k.pointer(of_matrix("gradient_of", stage.kernel))
    k.zero_if_fresh(result, stage.taps)
    sizes = _sizes(stage, choice, k.lanes)
    space = k.told("scratch")
    rooms = _Rooms(space, k.at(space, sizes[0]), k.at(space, sizes[0] + sizes[1]))
    with k.loop(first, last, choice.filters) as filter_, k.loop(0, images, choice.images) as start:
        stop = k.minimum(images, k.add(start, choice.images))
        k.fill_zero(rooms.sums, sizes[2])
        with k.loop(start, stop, choice.together) as image:
            count = k.minimum(choice.together, k.sub(stop, image))
            for top, end, rows in cover(choice.grid[0], choice.rows):
                with k.loop(top, end, rows) as row:
                    _transform(k, stage, choice, rooms, (image, count), (row, rows), filter_)
                    tiles = k.mul(count, rows * choice.grid[1])
                    with k.loop(0, choice.points) as point:
                        _multiply(k, stage, choice, rooms, point, tiles)
        _gather(k, stage, choice, rooms, filter_)


def _transform(
    k: Kernel,
    stage: ConvolutionStage,
    choice: WinogradWeights,
    rooms: _Rooms,
    images: tuple[Index, Index],
    rows: tuple[Index, int],
    filter_: Index,
) -> None:
    """Inputs and gradients of so many ``images`` and ``rows`` of tiles, tile by tile."""
    channels, columns = stage.input.channels, choice.grid[1]
    with k.loop(0, images[1]) as i, k.loop(0, rows[1]) as j, k.loop(0, columns) as column:
        number = k.add(k.mul(k.add(k.mul(i, rows[1]), j), columns), column)
        image, row = k.add(images[0], i), k.add(rows[0], j)
        place = [
            k.minimum(k.mul(at, choice.outputs), size - choice.outputs)
            for at, size in ((row, stage.output.height), (column, stage.output.width))
        ]
        corner = k.add(k.mul(place[0], stage.input.row), k.mul(place[1], channels), stage.corner)
        spread_tile(
            k,
            choice.outputs,
            (k.record(value(stage.input), image), corner, stage.input.row, channels),
            k.at(rooms.inputs, k.mul(number, channels)),
            choice.tiles * channels,
        )
        _weigh(k, stage, choice, rooms, image, (row, column), place, (number, filter_))


def _weigh(
    k: Kernel,
    stage: ConvolutionStage,
    choice: WinogradWeights,
    rooms: _Rooms,
    image: Index,
    tile: tuple[Index, Index],
    place: list[Index],
    goal: tuple[Index, Index],
) -> None:
    """G d G' of one tile, for the filters of the share. Where outputs are left, the last tile
    overlaps the one before it, whose gradients count as zero there."""
    output, outputs = stage.output, choice.outputs
    number, first = goal
    behind = k.record(gradient(output), image)
    corner = k.add(k.mul(place[0], output.row), k.mul(place[1], output.channels), output.origin)
    overlaps = [
        k.sub(k.mul(at, outputs), begin) if size % outputs else None
        for at, begin, size in zip(tile, place, (output.height, output.width), strict=True)
    ]

    def counts(axis: int, at: int) -> ir.Value | None:
        overlap = overlaps[axis]
        return None if overlap is None else k.less(overlap, at + 1)

    def one(i: int, j: int, filter_: Index) -> ir.Value:
        there = k.add(corner, first, filter_, i * output.row + j * output.channels)
        found = k.load(behind, there)
        for condition in (counts(0, i), counts(1, j)):
            if condition is not None:
                found = k.builder.select(condition, found, k.constant(0.0))
        return found

    with k.loop(0, choice.filters, k.lanes) as filter_:
        d = [[one(i, j, filter_) for j in range(outputs)] for i in range(outputs)]
        target = k.at(rooms.gradients, k.add(k.mul(number, choice.filters), filter_))
        points = (p for line in square(k, WEIGH_GRADIENTS[outputs], d) for p in line)
        for point, weighed in enumerate(points):
            k.store(weighed, target, point * choice.tiles * choice.filters)


def _multiply(
    k: Kernel,
    stage: ConvolutionStage,
    choice: WinogradWeights,
    rooms: _Rooms,
    point: Index,
    tiles: Index,
) -> None:
    """sums[point] (filters x channels) += gradients[point] (tiles x filters), transposed, times
    inputs[point] (tiles x channels): a block of filters x channels stays in registers."""
    channels, filters, row = stage.input.channels, choice.filters, _row(stage, k.lanes)
    inputs = k.at(rooms.inputs, k.mul(point, choice.tiles * channels))
    gradients = k.at(rooms.gradients, k.mul(point, choice.tiles * filters))
    sums = k.at(rooms.sums, k.mul(point, filters * row))
    for channel, counts in k.runs(channels, choice.vectors):
        for start, stop, many in cover(filters, choice.filters_at_once):
            with k.loop(start, stop, many) as filter_:
                here = k.at(sums, k.add(k.mul(filter_, row), channel))
                places = [
                    [(f * row + v * k.lanes) for v in range(len(counts))] for f in range(many)
                ]
                totals = [[k.variable(k.load(here, at)) for at in line] for line in places]
                with k.loop(0, tiles) as tile:
                    read = k.at(inputs, k.add(k.mul(tile, channels), channel))
                    ones = [k.load(read, v * k.lanes, count) for v, count in enumerate(counts)]
                    slopes = k.at(gradients, k.add(k.mul(tile, filters), filter_))
                    for f, line in enumerate(totals):
                        slope = k.broadcast(k.load_scalar(slopes, f))
                        for total, one in zip(line, ones, strict=True):
                            k.set(total, k.fma(slope, one, k.get(total)))
                for line, spots in zip(totals, places, strict=True):
                    for total, at in zip(line, spots, strict=True):
                        k.store(k.get(total), here, at)


def _gather(
    k: Kernel, stage: ConvolutionStage, choice: WinogradWeights, rooms: _Rooms, first: Index
) -> None:
    """gradient[filter] += A' sums A, for the filters of the share."""
    channels, row = stage.input.channels, _row(stage, k.lanes)
    result, side = k.pointer(of_matrix("gradient_of", stage.kernel)), choice.outputs + 2
    with k.loop(0, choice.filters) as filter_:
        line = k.at(result, k.mul(k.add(first, filter_), stage.taps))

        def add(channel: Index, count: int) -> None:
            here = k.at(rooms.sums, k.add(k.mul(filter_, row), channel))
            step = choice.filters * row
            m = [[k.load(here, (side * i + j) * step) for j in range(side)] for i in range(side)]
            taps = (t for found in square(k, GATHER_WEIGHTS[choice.outputs], m) for t in found)
            for number, tap in enumerate(taps):
                at = k.add(channel, number * channels)
                k.store(k.builder.fadd(k.load(line, at, count), tap), line, at, count)

        k.vectors(channels, add)
