"""Backward through depthwise convolutions: channels of the input in the lanes, as forward."""

from __future__ import annotations

from collections.abc import Sequence

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.depthwise_forward import (
    load_apart,
    store_apart,
    sums_of,
    tap_at,
    weights_of,
)
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.lang import Emitter, Index, cover
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import DepthwiseStage
from convmill.lower.subgrids import Room, room_around


def room_size(stage: DepthwiseStage, lanes: int) -> int:
    """Float32 elements of a thread's room for the gradient of one vector of channels between zeros:
    a plane of rows x columns x lanes for each filter."""
    rows, columns = room_around(stage).extent
    return stage.multiplier * rows * columns * lanes


def _place(e: Emitter, room: Room, plane: int, row: Index, column: Index) -> Index:
    """Offset of an output place in a plane of the room."""
    line = e.add(row, room.border[0] + plane * room.extent[0])
    return e.mul(e.add(e.mul(line, room.extent[1]), column, room.border[1]), e.lanes)


def input_gradient(k: Kernel) -> None:
    """gradient of x = for each place the sum over the taps through which it was read.

    A vector of channels at a time the gradient of y is put inside a border of zeros, so that no
    place is told from another.
    """
    stage = k.stage(DepthwiseStage)
    assert stage.choice is not None
    room, space, columns = room_around(stage), k.told("scratch"), stage.choice.columns
    result = k.pointer(gradient(stage.input))
    k.fill_zero(space, room_size(stage, k.lanes))

    def one_vector(channel: Index, count: int) -> None:
        _lay_out(k, stage, room, channel, count)
        weights = [
            weights_of(k, stage, channel, count, filter_) for filter_ in range(stage.multiplier)
        ]
        for down in room.grids[0]:
            for along in room.grids[1]:
                lines = [
                    (
                        _place(k, room, plane, offset, 0),
                        [(held[i][j], place) for j, place in along.taps],
                    )
                    for plane, held in enumerate(weights)
                    for i, offset in down.taps
                ]
                with k.loop(0, down.count) as row:
                    for left, right, wide in cover(along.count, columns):
                        with k.loop(left, right, wide) as column:
                            away = k.add(k.mul(row, room.extent[1]), column)
                            base = k.at(space, k.mul(away, k.lanes))
                            zeros = [k.constant(0.0)] * wide
                            for c, total in enumerate(sums_of(k, base, lines, (1, k.lanes), zeros)):
                                place = (
                                    k.add(k.mul(row, down.step), down.first),
                                    k.add(k.mul(k.add(column, c), along.step), along.first),
                                )
                                at = k.add(pixel_at(k, stage.input, *place), channel)
                                k.store(total, result, at, count)

    k.vectors(stage.input.channels, one_vector)


def _lay_out(k: Kernel, stage: DepthwiseStage, room: Room, channel: Index, count: int) -> None:
    """The gradient of a vector of channels, each filter's in a plane of its own."""
    behind, space = k.pointer(gradient(stage.output)), k.told("scratch")
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        pixel = k.add(pixel_at(k, stage.output, row, column), k.mul(channel, stage.multiplier))
        for filter_ in range(stage.multiplier):
            one = load_apart(k, behind, k.add(pixel, filter_), stage.multiplier, count)
            k.store(one, space, _place(k, room, filter_, row, column))


def weight_gradient(k: Kernel) -> None:
    """For each vector of channels of a share: gradient[tap] += x[tap] x gradient over all places of
    all images, in their order; the sums of some taps over one image stay in registers."""
    stage = k.stage(DepthwiseStage)
    assert stage.choice is not None
    assert stage.choice.sums is not None
    height, width = stage.kernel_size
    taps: list[_Sum] = [
        (filter_, (i, j))
        for filter_ in range(stage.multiplier)
        for i in range(height)
        for j in range(width)
    ]
    if stage.bias is not None:
        taps += [(filter_, None) for filter_ in range(stage.multiplier)]
    pieces = [taps[at : at + stage.choice.sums] for at in range(0, len(taps), stage.choice.sums)]
    for channel, count in k.share(stage.input.channels):
        for piece in pieces:
            with k.when(k.is_fresh()):
                for one in piece:
                    _add_stored(k, stage, one, channel, count, None)
            with k.loop(0, k.told("images")) as image:
                _piece(k, stage, image, channel, count, piece)


_Sum = tuple[int, tuple[int, int] | None]  # a filter, and its tap, or None for its bias


def _piece(
    k: Kernel,
    stage: DepthwiseStage,
    image: Index,
    channel: Index,
    count: int,
    piece: Sequence[_Sum],
) -> None:
    """What one image adds to some sums of a vector of channels."""
    x = k.at(k.record(value(stage.input), image), k.add(channel, stage.corner))
    behind = k.record(gradient(stage.output), image)
    out = k.mul(channel, stage.multiplier)
    sums = [k.variable(k.constant(0.0)) for _ in piece]
    steps = (stage.strides[0] * stage.input.row, stage.strides[1] * stage.input.channels)
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        window = k.at(x, k.add(k.mul(row, steps[0]), k.mul(column, steps[1])))
        pixel = k.add(pixel_at(k, stage.output, row, column), out)
        gradients = {
            filter_: load_apart(k, behind, k.add(pixel, filter_), stage.multiplier, count)
            for filter_ in dict.fromkeys(filter_ for filter_, _ in piece)
        }
        for total, (filter_, tap) in zip(sums, piece, strict=True):
            slope = gradients[filter_]
            if tap is None:
                k.set(total, k.builder.fadd(k.get(total), slope))
                continue
            away = tap[0] * stage.dilation[0] * stage.input.row
            away += tap[1] * stage.dilation[1] * stage.input.channels
            k.set(total, k.fma(k.load(window, away, count), slope, k.get(total)))
    for total, one in zip(sums, piece, strict=True):
        _add_stored(k, stage, one, channel, count, k.get(total))


def _add_stored(
    k: Kernel,
    stage: DepthwiseStage,
    which: _Sum,
    channel: Index,
    count: int,
    more: ir.Value | None,
) -> None:
    """``more`` on top of what is stored of a sum; None sets it to zero."""
    filter_, tap = which
    if tap is not None:
        stored = k.pointer(of_matrix("gradient_of", stage.kernel))
        at, apart = k.add(tap_at(stage, *tap, filter_), channel), 1
    else:
        assert stage.bias is not None
        stored = k.pointer(of_matrix("gradient_of", stage.bias))
        at, apart = k.add(k.mul(channel, stage.multiplier), filter_), stage.multiplier
    total = k.constant(0.0)
    if more is not None:
        total = k.builder.fadd(load_apart(k, stored, at, apart, count), more)
    store_apart(k, total, stored, at, apart, count)
