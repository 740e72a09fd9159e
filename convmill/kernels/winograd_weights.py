"""The gradient of a convolution's weights by Winograd's minimal filtering F(r x r, m x m).

m x m gradients of outputs need (m + r - 1)^2 products for a filter and a channel, not m^2 r^2: the
r x r gradients are A' [(G d G') * (B' x B)] A, d being a tile of gradients and x the inputs that it
reads. The products are summed over the tiles of some images before they are gathered. Gradients of
biases are summed where those of outputs are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import I32, Index, cover
from convmill.kernels.transforms import (
    Strip,
    gather,
    spread_strip,
    square,
    strip_room,
    weigh,
)
from convmill.lower.choices import WinogradWeights
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.lines import behind, round_up, spaced
from convmill.lower.stages import ConvolutionStage


@dataclass(frozen=True)
class _Rooms:
    """Where in the scratch things lie: inputs, points x tiles x channels; gradients, points x tiles
    x filters; sums, points x filters x channels, whole vectors of them; zeros, of which a block of
    sums starts; and a strip of inputs. Of the first three also what lies between two points."""

    inputs: ir.Value
    gradients: ir.Value
    sums: ir.Value
    zeros: ir.Value
    strip: ir.Value
    input_step: int
    gradient_step: int
    sum_step: int


def scratch(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> int:
    """Float32 elements that one thread needs."""
    strip = strip_room(choice.filtering.side, _columns(stage), lanes)
    return sum(_sizes(stage, choice, lanes)) + strip


def _sizes(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> list[int]:
    """Float32 elements of inputs, gradients, sums and zeros, with what lies between them."""
    inputs, gradients, sums = (
        choice.filtering.points * step for step in _steps(stage, choice, lanes)
    )
    read = behind(inputs + gradients)
    return [inputs, read - inputs, sums, _zeros(stage, choice, lanes)]


def _steps(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> tuple[int, int, int]:
    """From one point to the next of inputs, of gradients and of sums."""
    sizes = (
        choice.tiles * stage.input.channels,
        choice.tiles * choice.filters,
        choice.filters * _row(stage, lanes),
    )
    inputs, gradients, sums = (spaced(size) for size in sizes)
    return inputs, gradients, sums


def _rooms(k: Kernel, stage: ConvolutionStage, choice: WinogradWeights) -> _Rooms:
    steps = _steps(stage, choice, k.lanes)
    starts = accumulate(_sizes(stage, choice, k.lanes), initial=0)
    inputs, gradients, sums, zeros, strip = (k.at(k.told("scratch"), start) for start in starts)
    return _Rooms(inputs, gradients, sums, zeros, strip, *steps)


def _columns(stage: ConvolutionStage) -> int:
    """Columns of the input that a row of tiles reads."""
    return stage.output.width + stage.kernel_size[1] - 1


def _zeros(stage: ConvolutionStage, choice: WinogradWeights, lanes: int) -> int:
    """Float32 elements of zeros: as far as a block of sums reaches."""
    return choice.filters_at_once * _row(stage, lanes)


def _row(stage: ConvolutionStage, lanes: int) -> int:
    """Float32 elements from one filter's sums to the next."""
    return round_up(stage.input.channels, lanes)


def weight_gradient(k: Kernel) -> None:
    """gradient[filter] += gradients of outputs x windows there, over all images in their order:
    from zero for the first images of a batch, else from what is stored."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    choice = stage.choice.weight_gradient
    assert isinstance(choice, WinogradWeights)
    first, last, images = k.told("first"), k.told("last"), k.told("images")
    k.zero_if_fresh(k.pointer(of_matrix("gradient_of", stage.kernel)), stage.taps)
    if stage.bias is not None:
        k.zero_if_fresh(k.pointer(of_matrix("gradient_of", stage.bias)), 1)
    rooms = _rooms(k, stage, choice)
    k.fill_zero(rooms.zeros, _zeros(stage, choice, k.lanes))
    with k.loop(first, last, choice.filters) as filter_, k.loop(0, images, choice.images) as start:
        stop = k.minimum(images, k.add(start, choice.images))
        with k.loop(start, stop, choice.together) as image:
            count = k.minimum(choice.together, k.sub(stop, image))
            for top, end, rows in cover(choice.grid[0], choice.rows):
                with k.loop(top, end, rows) as row:
                    _transform(k, stage, choice, rooms, (image, count), (row, rows), filter_)
                    tiles = k.mul(count, rows * choice.grid[1])
                    begins = k.builder.and_(k.equal(image, start), k.equal(row, 0))
                    with k.loop(0, choice.filtering.points) as point:
                        _multiply(k, stage, choice, rooms, point, tiles, begins)
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
    """Inputs and gradients of so many ``images`` and ``rows`` of tiles."""
    channels, columns = stage.input.channels, choice.grid[1]
    outputs = choice.filtering.outputs

    def first(at: Index, size: int) -> Index:
        return k.minimum(k.mul(at, outputs), size - outputs)

    with k.loop(0, images[1]) as i, k.loop(0, rows[1]) as j:
        start = k.mul(k.add(k.mul(i, rows[1]), j), columns)
        image, row = k.add(images[0], i), k.add(rows[0], j)
        top = first(row, stage.output.height)
        x = k.record(value(stage.input), image)
        strip = Strip(
            k.at(x, k.add(k.mul(top, stage.input.row), stage.corner)),
            stage.input.row,
            channels,
            _columns(stage),
            rooms.strip,
        )
        spread_strip(
            k,
            choice.filtering.side,
            strip,
            (columns, lambda column: first(column, stage.output.width)),
            k.at(rooms.inputs, k.mul(start, channels)),
            rooms.input_step,
        )
        with k.loop(0, columns) as column:
            place = [top, first(column, stage.output.width)]
            goal = (k.add(start, column), filter_)
            _weigh(k, stage, choice, rooms, image, (row, column), place, goal)


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
    output, outputs = stage.output, choice.filtering.outputs
    number, first = goal
    slopes = k.record(gradient(output), image)
    corner = k.add(k.mul(place[0], output.row), k.mul(place[1], output.channels), output.origin)
    overlaps = [
        k.sub(k.mul(at, outputs), begin) if size % outputs else None
        for at, begin, size in zip(tile, place, (output.height, output.width), strict=True)
    ]

    def counts(axis: int, at: int) -> ir.Value | None:
        overlap = overlaps[axis]
        if overlap is None:
            return None
        # In all lanes: one condition for a vector would be a branch, which nothing foresees.
        every = k.broadcast(k.builder.trunc(k.index(overlap), I32))
        return k.builder.icmp_signed("<=", every, k.whole(at))

    def slope(i: int, j: int, filter_: Index) -> ir.Value:
        there = k.add(corner, first, filter_, i * output.row + j * output.channels)
        found = k.load(slopes, there)
        conditions = [one for one in (counts(0, i), counts(1, j)) if one is not None]
        if not conditions:
            return found
        return k.builder.select(reduce(k.builder.and_, conditions), found, k.constant(0.0))

    with k.loop(0, choice.filters, k.lanes) as filter_:
        d = [[slope(i, j, filter_) for j in range(outputs)] for i in range(outputs)]
        target = k.at(rooms.gradients, k.add(k.mul(number, choice.filters), filter_))
        weighed_square = square(lambda g: weigh(k, choice.filtering.side, g), d)
        points = (p for line in weighed_square for p in line)
        for point, weighed in enumerate(points):
            k.store(weighed, target, point * rooms.gradient_step)
        if stage.bias is not None:
            biases = k.at(k.pointer(of_matrix("gradient_of", stage.bias)), k.add(first, filter_))
            every = (one for line in d for one in line)
            k.store(reduce(k.builder.fadd, every, k.load(biases, 0)), biases, 0)


def _multiply(
    k: Kernel,
    stage: ConvolutionStage,
    choice: WinogradWeights,
    rooms: _Rooms,
    point: Index,
    tiles: Index,
    begins: ir.Value,
) -> None:
    """sums[point] (filters x channels) += gradients[point] (tiles x filters), transposed, times
    inputs[point] (tiles x channels), from zero where it ``begins``: a block of filters x channels
    stays in registers."""
    channels, filters, row = stage.input.channels, choice.filters, _row(stage, k.lanes)
    inputs = k.at(rooms.inputs, k.mul(point, rooms.input_step))
    gradients = k.at(rooms.gradients, k.mul(point, rooms.gradient_step))
    sums = k.at(rooms.sums, k.mul(point, rooms.sum_step))
    for channel, counts in k.runs(channels, choice.vectors):
        for start, stop, many in cover(filters, choice.filters_at_once):
            with k.loop(start, stop, many) as filter_:
                here = k.at(sums, k.add(k.mul(filter_, row), channel))
                places = [
                    [(f * row + v * k.lanes) for v in range(len(counts))] for f in range(many)
                ]
                before = k.builder.select(begins, rooms.zeros, here)
                totals = [[k.variable(k.load(before, at)) for at in line] for line in places]
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
    result = k.pointer(of_matrix("gradient_of", stage.kernel))
    side, kernel = choice.filtering.side, choice.filtering.kernel
    with k.loop(0, choice.filters) as filter_:
        line = k.at(result, k.mul(k.add(first, filter_), stage.taps))

        def add(channel: Index, count: int) -> None:
            here = k.at(rooms.sums, k.add(k.mul(filter_, row), channel))
            step = rooms.sum_step
            m = [[k.load(here, (side * i + j) * step) for j in range(side)] for i in range(side)]
            found = square(lambda line: gather(k, side, kernel, line), m)
            taps = (tap for row in found for tap in row)
            for number, tap in enumerate(taps):
                at = k.add(channel, number * channels)
                k.store(k.builder.fadd(k.load(line, at, count), tap), line, at, count)

        k.vectors(channels, add)
