"""Weight gradient of a convolution whose windows are small: a first layer on grey or RGB images.

Filters are in the lanes and every place counts; the place that a pooling window did not choose
contributes zero. No lists are built. Where filters are few, a vector holds each of them several
times, for taps that are neighbours in memory: lane f taps + i is filter f's for the i-th of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.direct import maxima
from convmill.kernels.functions import gate
from convmill.kernels.lanes import load_repeated, repeat
from convmill.kernels.lang import I8, I64, Emitter, Index
from convmill.lower.choices import Narrow
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage


def scratch(stage: ConvolutionStage, choice: Narrow, lanes: int) -> int:
    """Float32 elements that one thread needs: sums of all filters, by vectors of them."""
    return -(-stage.output.channels // lanes) * len(_firsts(stage, choice)) * lanes


def _firsts(stage: ConvolutionStage, choice: Narrow) -> list[int]:
    """The first tap of each sum. Where taps of a run are left, the last sum overlaps the one before
    it."""
    run = stage.run_length
    numbers = range(stage.groups_of_taps(choice.taps))
    starts = [min(number * choice.taps, run - choice.taps) for number in numbers]
    return [first + start for first in range(0, stage.taps, run) for start in starts]


@dataclass(frozen=True)
class _Sums:
    """The first tap of each sum, of so many ``taps``; and a table of the lanes, counted over all
    sums, in which the taps of a vector's first filter lie."""

    firsts: list[int]
    taps: int
    lanes: ir.Value

    @classmethod
    def of(cls, k: Kernel, stage: ConvolutionStage, choice: Narrow) -> _Sums:
        """Those of a stage."""
        firsts = _firsts(stage, choice)
        lanes = {
            first + i: number * k.lanes + i
            for number, first in enumerate(firsts)
            for i in range(choice.taps)
        }
        return cls(firsts, choice.taps, k.table([lanes[tap] for tap in range(stage.taps)], I64))


def weight_gradient(k: Kernel) -> None:
    """For each vector of filters of a share: sum[tap] += x[tap] x gradient over all places of all
    images, in their order; the sums of some taps stay in registers over an image, which stays in
    the second cache meanwhile. They begin at zero for the first images of a batch, and go on from
    what is stored for later ones.
    """
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    choice = stage.choice.weight_gradient
    assert isinstance(choice, Narrow)
    sums = _Sums.of(k, stage, choice)
    for filter_, count in k.share(stage.output.channels):
        _begin(k, stage, sums, filter_, count)
    with k.loop(0, k.told("images")) as image:
        for filter_, count in k.share(stage.output.channels):
            for start in range(0, len(sums.firsts), choice.sums):
                numbers = range(start, min(len(sums.firsts), start + choice.sums))
                _image(k, stage, sums, image, filter_, count, numbers)
    for filter_, count in k.share(stage.output.channels):
        _end(k, stage, sums, filter_, count)


def _room(k: Kernel, sums: _Sums, filter_: Index) -> ir.Value:
    """Where the sums of a vector of filters are kept."""
    return k.at(k.told("scratch"), k.mul(k.sub(filter_, k.told("first")), len(sums.firsts)))


def _begin(k: Kernel, stage: ConvolutionStage, sums: _Sums, filter_: Index, count: int) -> None:
    """The sums of a vector of filters, and its biases, as far as they are."""
    result, room = k.pointer(of_matrix("gradient_of", stage.kernel)), _room(k, sums, filter_)
    k.fill_zero(room, len(sums.firsts) * k.lanes)
    with (
        k.when(k.builder.not_(k.is_fresh())),
        _each(k, stage, sums, filter_, count) as (here, there),
    ):
        k.store_scalar(k.load_scalar(result, there), room, here)
    if stage.bias is not None:
        bias = k.pointer(of_matrix("gradient_of", stage.bias))
        k.store(k.unless_fresh(k.load(bias, filter_, count)), bias, filter_, count)


def _end(k: Kernel, stage: ConvolutionStage, sums: _Sums, filter_: Index, count: int) -> None:
    """Gradients of a vector of filters, from its sums."""
    result, room = k.pointer(of_matrix("gradient_of", stage.kernel)), _room(k, sums, filter_)
    with _each(k, stage, sums, filter_, count) as (here, there):
        k.store_scalar(k.load_scalar(room, here), result, there)


@contextmanager
def _each(
    k: Kernel, stage: ConvolutionStage, sums: _Sums, filter_: Index, count: int
) -> Iterator[tuple[Index, Index]]:
    """For each tap and filter of a vector: where its sum lies in the room, and where in the
    gradient."""
    with k.loop(0, stage.taps) as tap, k.loop(0, count) as lane:
        line = k.mul(k.add(filter_, lane), stage.taps)
        here = k.add(k.load_scalar(sums.lanes, tap, I64), k.mul(lane, sums.taps))
        yield here, k.add(line, tap)


def _image(
    k: Kernel,
    stage: ConvolutionStage,
    sums: _Sums,
    image: Index,
    filter_: Index,
    count: int,
    numbers: range,
) -> None:
    """Adds an image to the sums of these ``numbers`` for one vector of filters, and to their biases
    with the first."""
    b, x, room = k.builder, k.record(value(stage.input), image), _room(k, sums, filter_)
    totals = [k.variable(k.load(room, number * k.lanes)) for number in numbers]
    bias = stage.bias if numbers.start == 0 else None
    if bias is not None:
        biases = k.pointer(of_matrix("gradient_of", bias))
        of_bias = k.variable(k.load(biases, filter_, count))
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        gated, winner = _gated(k, stage, image, (row, column, filter_), count)
        if bias is not None:
            k.set(of_bias, b.fadd(k.get(of_bias), gated))
        gated = repeat(k, gated, sums.taps)
        winner = None if winner is None else repeat(k, winner, sums.taps)
        for place in range(stage.pool[0] * stage.pool[1]):
            part = gated
            if winner is not None:
                chosen = b.icmp_signed("==", winner, k.whole(place))
                part = b.select(chosen, gated, k.constant(0.0))
            window = k.at(x, _window(k, stage, row, column, place))
            for number, total in zip(numbers, totals, strict=True):
                first = stage.tap_offset(sums.firsts[number])
                ones = load_repeated(k, window, first, sums.taps)
                k.set(total, k.fma(ones, part, k.get(total)))
    for number, total in zip(numbers, totals, strict=True):
        k.store(k.get(total), room, number * k.lanes)
    if bias is not None:
        k.store(k.get(of_bias), biases, filter_, count)


def _gated(
    k: Kernel,
    stage: ConvolutionStage,
    image: Index,
    place: tuple[Index, Index, Index],
    count: int,
) -> tuple[ir.Value, ir.Value | None]:
    """Gradient before the activation at one output place (row, column, filter), and the place of
    the window it is for."""
    row, column, filter_ = place
    at = k.add(
        stage.output.origin,
        k.mul(row, stage.output.row),
        k.mul(column, stage.output.channels),
        filter_,
    )
    y = k.load(k.record(value(stage.output), image), at, count)
    behind = k.load(k.record(gradient(stage.output), image), at, count)
    gated = gate(k, stage.activation, y, behind)
    if not stage.pooled:
        return gated, None
    pixel = k.mul(k.add(k.mul(row, stage.output.width), column), stage.output.channels)
    kept = k.record(maxima(stage), image)
    winner = k.load(kept, k.add(pixel, filter_), count, I8)
    return gated, k.builder.zext(winner, k.integers)


def _window(e: Emitter, stage: ConvolutionStage, row: Index, column: Index, place: int) -> Index:
    """Offset in the input of the window at one place of a pooling window."""
    down, right = divmod(place, stage.pool[1])
    line = e.mul(e.add(e.mul(row, stage.pool[0]), down), stage.strides[0] * stage.input.row)
    step = stage.strides[1] * stage.input.channels
    return e.add(line, e.mul(e.add(e.mul(column, stage.pool[1]), right), step), stage.corner)
