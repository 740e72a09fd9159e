"""Depthwise convolutions forward, and what their kernels have in common.

Channels of the input are in the lanes. The kernel is held as kernel height x kernel width x filters
of a channel x channels, so that the weights of a tap are neighbours as pixels' channels are. Where
a channel has several filters, what belongs to one of them lies that far apart in the output.
"""

from __future__ import annotations

from collections.abc import Sequence

from convmill.kernels import folding, ir
from convmill.kernels.ahead import claimed
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.functions import activate
from convmill.kernels.lang import I32, Emitter, Index, blocks, cover
from convmill.lower.launches import of_matrix, value
from convmill.lower.stages import DepthwiseStage

# What is read of a line of places: where it starts, and (weights, place along it) for each tap.
Line = tuple[Index, list[tuple[ir.Value, int]]]


def forward(k: Kernel) -> None:
    """y = activation(convolution(x) + bias): for a vector of channels the weights stay in
    registers, as far as there are enough, and with them the sums of some places of a row."""
    stage = k.stage(DepthwiseStage)
    assert stage.choice is not None
    columns, x = stage.choice.columns, k.pointer(value(stage.input))
    bias = None
    if stage.bias is not None and stage.folded is None:
        bias = k.pointer(of_matrix("parameter", stage.bias))

    vectors = blocks(stage.input.channels, k.lanes) * stage.multiplier
    turns = vectors * stage.output.height * blocks(stage.output.width, columns)
    ask = claimed(k, value(stage.output), 0, turns)

    def one_filter(channel: Index, count: int, filter_: int) -> None:
        weights = weights_of(k, stage, channel, count, filter_)
        out = k.add(k.mul(channel, stage.multiplier), filter_)
        start = k.constant(0.0)
        if bias is not None:
            start = load_apart(k, bias, out, stage.multiplier, count)
        lines = [
            (
                i * stage.dilation[0] * stage.input.row,
                [(line[j], j * stage.dilation[1]) for j in range(stage.kernel_size[1])],
            )
            for i, line in enumerate(weights)
        ]
        steps = (stage.strides[0] * stage.input.row, stage.strides[1] * stage.input.channels)
        with k.loop(0, stage.output.height) as row:
            for left, right, wide in cover(stage.output.width, columns):
                with k.loop(left, right, wide) as column:
                    ask()
                    away = (k.mul(row, steps[0]), k.mul(column, steps[1]))
                    base = k.at(x, k.add(*away, channel, stage.corner))
                    sums = sums_of(k, base, lines, (stage.strides[1], stage.input.channels),
                                 [start] * wide, count)  # fmt: skip
                    for c, total in enumerate(sums):
                        at = k.add(pixel_at(k, stage.output, row, k.add(column, c)), out)
                        total = folding.finish(k, stage, total, out, count)
                        y = activate(k, stage.activation, total)
                        store_apart(k, y, k.pointer(value(stage.output)), at,
                                     stage.multiplier, count)  # fmt: skip

    def all_filters(channel: Index, count: int) -> None:
        for filter_ in range(stage.multiplier):
            one_filter(channel, count, filter_)

    k.vectors(stage.input.channels, all_filters)


def weights_of(
    k: Kernel, stage: DepthwiseStage, channel: Index, count: int, filter_: int
) -> list[list[ir.Value]]:
    """Weights of one filter of a vector of channels, by row and column of the kernel."""
    held = k.pointer(of_matrix("parameter", stage.kernel))
    height, width = stage.kernel_size
    return [
        [
            k.load(held, k.add(tap_at(stage, i, j, filter_), channel), count)
            for j in range(width)
        ]
        for i in range(height)
    ]


def tap_at(stage: DepthwiseStage, row: int, column: int, filter_: int) -> int:
    """Where the weights of a tap start."""
    tap = row * stage.kernel_size[1] + column
    return (tap * stage.multiplier + filter_) * stage.input.channels


def sums_of(
    k: Kernel,
    source: ir.Value,
    lines: Sequence[Line],
    apart: tuple[int, int],
    sums: Sequence[ir.Value],
    count: int | None = None,
) -> list[ir.Value]:
    """Sums of places side by side, each with what its taps read added to it; what several of them
    read is loaded once. ``apart`` are the places that are read from one to the next, and the
    elements from place to place."""
    sums = list(sums)
    for start, taps in lines:
        readers: dict[int, list[tuple[int, ir.Value]]] = {}
        for number in range(len(sums)):
            for weight, place in taps:
                readers.setdefault(number * apart[0] + place, []).append((number, weight))
        for place in sorted(readers):
            one = k.load(source, k.add(start, place * apart[1]), count)
            for number, weight in readers[place]:
                sums[number] = k.fma(one, weight, sums[number])
    return sums


def load_apart(e: Emitter, pointer: ir.Value, offset: Index, apart: int, count: int) -> ir.Value:
    """A vector of values ``apart`` from one another; lanes from ``count`` on are zero."""
    if apart == 1:
        return e.load(pointer, offset, count)
    found = e.constant(0.0)
    for lane in range(count):
        one = e.load_scalar(pointer, e.add(offset, lane * apart))
        found = e.builder.insert_element(found, one, _lane(lane))
    return found


def store_apart(
    e: Emitter, vector: ir.Value, pointer: ir.Value, offset: Index, apart: int, count: int
) -> None:
    """Write the first ``count`` lanes of a vector ``apart`` from one another."""
    if apart == 1:
        e.store(vector, pointer, offset, count)
        return
    for lane in range(count):
        one = e.builder.extract_element(vector, _lane(lane))
        e.store_scalar(one, pointer, e.add(offset, lane * apart))


def _lane(number: int) -> ir.Constant:
    return ir.Constant(I32, number)
