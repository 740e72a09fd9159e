"""Backward through a convolution over all places: where nothing pools and no relu cuts gradients
off, lists of live places would name every one.

A filter is kernel height x (kernel width x channels in), as it is held. Gradients before the
activation lie in the place of those behind it (``gating.py``).
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.lang import Emitter, Index, cover
from convmill.kernels.pieces import Piece, pieces
from convmill.lower.choices import Gathered, Outer
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage
from convmill.lower.subgrids import Room, SubGrid, room_around

# The gradient of x -------------------------------------------------------------------------------


def room_size(stage: ConvolutionStage) -> int:
    """Float32 elements that an image's gradients take between zeros; none where they need none."""
    room = room_around(stage)
    rows, columns = room.extent
    return 0 if _lies_already(stage, room) else rows * columns * stage.output.channels


def _lies_already(stage: ConvolutionStage, room: Room) -> bool:
    """Whether the gradient of y lies in its record as it would in the room."""
    output = stage.output
    return room.extent == (output.height, output.width) and not any(output.halo[2:])


def input_gradient(k: Kernel) -> None:
    """Each place of x gathers from all places of y that read it: a tile of places x channels stays
    in registers over taps and filters. Places a stride apart gather through the same taps."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.input_gradient
    assert isinstance(tile, Gathered)
    room = room_around(stage)
    rows, columns = room.grids
    space = lay_out(k, stage, room)
    for channel, counts in k.runs(stage.input.channels, tile.vectors):
        for down in rows:
            for along in columns:
                with k.loop(0, down.count) as row:
                    for first, last, wide in cover(along.count, tile.places):
                        with k.loop(first, last, wide) as column:
                            at = (row, column, channel)
                            _gather(k, stage, (room, space), (down, along), at, wide, counts)


def lay_out(k: Kernel, stage: ConvolutionStage, room: Room, image: Index = 0) -> ir.Value:
    """The gradient of an image's y between zeros: in the thread's scratch, where there are any."""
    output, space = stage.output, k.told("scratch")
    (above, left), line = room.border, room.extent[1] * output.channels
    behind = k.record(gradient(output), image)
    if _lies_already(stage, room):
        return k.at(behind, output.origin)
    k.fill_zero(space, room_size(stage))
    with k.loop(0, output.height) as row:
        start = k.add(output.origin, k.mul(row, output.row))
        goal = k.add(k.mul(k.add(row, above), line), left * output.channels)

        def copy(at: Index, count: int, start: Index = start, goal: Index = goal) -> None:
            one = k.load(behind, k.add(start, at), count)
            k.store(one, space, k.add(goal, at), count)

        k.vectors(output.width * output.channels, copy)
    return space


def _gather(
    k: Kernel,
    stage: ConvolutionStage,
    laid_out: tuple[Room, ir.Value],
    grids: tuple[SubGrid, SubGrid],
    at: tuple[Index, Index, Index],
    wide: int,
    counts: list[int],
) -> None:
    """``wide`` places beside each other of a sub-grid, vectors of channels each."""
    (room, space), weights = laid_out, k.pointer(of_matrix("parameter", stage.kernel))
    filters, channels = stage.output.channels, stage.input.channels
    (above, left), line = room.border, room.extent[1] * filters
    (down, along), (row, column, channel) = grids, at
    sums = [[k.variable(k.constant(0.0)) for _ in counts] for _ in range(wide)]
    with k.loop(0, len(down.taps)) as i, k.loop(0, len(along.taps)) as j:
        (tap_row, out_row), (tap_column, out_column) = _tap(k, down, i), _tap(k, along, j)
        there = k.mul(k.add(row, out_row, above), line)
        base = k.at(space, k.add(there, k.mul(k.add(column, out_column, left), filters)))
        tap = k.add(k.mul(tap_row, stage.kernel_size[1]), tap_column)
        first = k.add(k.mul(tap, channels), channel)
        with k.loop(0, filters) as filter_:
            here = k.add(k.mul(filter_, stage.taps), first)
            factors = [
                k.load(weights, k.add(here, v * k.lanes), count) for v, count in enumerate(counts)
            ]
            for p, totals in enumerate(sums):
                one = k.broadcast(k.load_scalar(base, k.add(filter_, p * filters)))
                for total, factor in zip(totals, factors, strict=True):
                    k.set(total, k.fma(one, factor, k.get(total)))
    tensor = stage.input
    into = k.add(tensor.origin, k.mul(k.add(down.first, k.mul(row, down.step)), tensor.row))
    for p, totals in enumerate(sums):
        place = k.add(along.first, k.mul(k.add(column, p), along.step))
        pixel = k.add(into, k.mul(place, channels), channel)
        for v, (total, count) in enumerate(zip(totals, counts, strict=True)):
            k.store(k.get(total), k.pointer(gradient(tensor)), k.add(pixel, v * k.lanes), count)


def _tap(e: Emitter, grid: SubGrid, number: Index) -> tuple[Index, Index]:
    """The tap of that number, and how far from it the output place lies: both go evenly."""
    (tap, offset), *others = grid.taps or ((0, 0),)
    step = (others[0][0] - tap, others[0][1] - offset) if others else (0, 0)
    return e.add(tap, e.mul(number, step[0])), e.add(offset, e.mul(number, step[1]))


# Gradients of the parameters ---------------------------------------------------------------------


def weight_gradient(k: Kernel) -> None:
    """gradient[filter] += gradient at a place x the window there, over all places of all images, in
    their order: from zero for the first images of a batch, else from what is stored. A tile of
    filters x part of a window stays in registers while a few images go by."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.weight_gradient
    assert isinstance(tile, Outer)
    first, last = k.told("first"), k.told("last")
    result = k.pointer(of_matrix("gradient_of", stage.kernel))
    k.zero_if_fresh(result, stage.taps)
    with k.loop(0, k.told("images"), tile.images) as start:
        images = (start, k.minimum(k.told("images"), k.add(start, tile.images)))
        for filter_, many in k.in_pieces(first, last, tile.filters):

            def accumulate(
                piece: Piece, _: ir.Value, filter_: Index = filter_, many: int = many
            ) -> None:
                _outer(k, stage, images, filter_, many, piece)

            pieces(k, stage, (tile.rows, tile.vectors), accumulate)


def _outer(
    k: Kernel,
    stage: ConvolutionStage,
    images: tuple[Index, Index],
    filter_: Index,
    many: int,
    piece: Piece,
) -> None:
    """``many`` filters times part of a window, over the places of some images."""
    result, output = k.pointer(of_matrix("gradient_of", stage.kernel)), stage.output
    lines = [k.mul(k.add(filter_, f), stage.taps) for f in range(many)]
    sums = [
        [k.variable(k.load(result, k.add(line, at), count)) for _, at, count in piece]
        for line in lines
    ]
    down, along = stage.strides[0] * stage.input.row, stage.strides[1] * stage.input.channels
    with k.loop(*images) as image:
        x = k.record(value(stage.input), image)
        behind = k.record(gradient(output), image)
        with k.loop(0, output.height) as row, k.loop(0, output.width) as column:
            window = k.at(x, k.add(k.mul(row, down), k.mul(column, along), stage.corner))
            read = [k.load(window, place, count) for place, _, count in piece]
            pixel = pixel_at(k, output, row, column)
            for f, totals in enumerate(sums):
                slope = k.broadcast(k.load_scalar(behind, k.add(pixel, filter_, f)))
                for total, one in zip(totals, read, strict=True):
                    k.set(total, k.fma(slope, one, k.get(total)))
    for line, totals in zip(lines, sums, strict=True):
        for total, (_, at, count) in zip(totals, piece, strict=True):
            k.store(k.get(total), result, k.add(line, at), count)
