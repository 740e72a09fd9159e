"""Weight gradient of a convolution whose windows are small: a first layer on grey or RGB images.

Filters are in the lanes and every place counts; the place that a pooling window did not choose
contributes zero. No lists are built.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.direct import maxima
from convmill.kernels.functions import gate
from convmill.kernels.lang import I8, Emitter, Index
from convmill.lower.choices import Narrow
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage


def scratch(stage: ConvolutionStage, lanes: int) -> int:
    """Float32 elements that one thread needs: sums of all filters, taps x lanes for a vector."""
    return -(-stage.output.channels // lanes) * stage.taps * lanes


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
    for filter_, count in k.share(stage.output.channels):
        _begin(k, stage, filter_, count)
    with k.loop(0, k.told("images")) as image:
        for filter_, count in k.share(stage.output.channels):
            for start in range(0, stage.taps, choice.taps):
                taps = range(start, min(stage.taps, start + choice.taps))
                _image(k, stage, image, filter_, count, taps)
    for filter_, count in k.share(stage.output.channels):
        _end(k, stage, filter_, count)


def _room(k: Kernel, stage: ConvolutionStage, filter_: Index) -> ir.Value:
    """Where the sums of a vector of filters are kept."""
    return k.at(k.told("scratch"), k.mul(k.sub(filter_, k.told("first")), stage.taps))


def _begin(k: Kernel, stage: ConvolutionStage, filter_: Index, count: int) -> None:
    """The sums of a vector of filters, and its biases, as far as they are."""
    result, room = k.pointer(of_matrix("gradient_of", stage.kernel)), _room(k, stage, filter_)
    k.fill_zero(room, stage.taps * k.lanes)
    with (
        k.when(k.builder.not_(k.is_fresh())),
        _each(k, stage, filter_, count) as (here, there),
    ):
        k.store_scalar(k.load_scalar(result, there), room, here)
    if stage.bias is not None:
        bias = k.pointer(of_matrix("gradient_of", stage.bias))
        k.store(k.unless_fresh(k.load(bias, filter_, count)), bias, filter_, count)


def _end(k: Kernel, stage: ConvolutionStage, filter_: Index, count: int) -> None:
    """Gradients of a vector of filters, from its sums."""
    result, room = k.pointer(of_matrix("gradient_of", stage.kernel)), _room(k, stage, filter_)
    with _each(k, stage, filter_, count) as (here, there):
        k.store_scalar(k.load_scalar(room, here), result, there)


@contextmanager
def _each(
    k: Kernel, stage: ConvolutionStage, filter_: Index, count: int
) -> Iterator[tuple[Index, Index]]:
    """For each tap and filter of a vector: where its sum lies in the room, and where in the
    gradient."""
    with k.loop(0, stage.taps) as tap, k.loop(0, count) as lane:
        line = k.mul(k.add(filter_, lane), stage.taps)
        yield k.add(k.mul(tap, k.lanes), lane), k.add(line, tap)


def _image(
    k: Kernel, stage: ConvolutionStage, image: Index, filter_: Index, count: int, taps: range
) -> None:
    """Adds an image to the sums of ``taps`` for one vector of filters, and to their biases with the
    first tap."""
    b, x, room = k.builder, k.record(value(stage.input), image), _room(k, stage, filter_)
    sums = [k.variable(k.load(room, tap * k.lanes)) for tap in taps]
    bias = stage.bias if taps.start == 0 else None
    if bias is not None:
        biases = k.pointer(of_matrix("gradient_of", bias))
        total = k.variable(k.load(biases, filter_, count))
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        gated, winner = _gated(k, stage, image, (row, column, filter_), count)
        if bias is not None:
            k.set(total, b.fadd(k.get(total), gated))
        for place in range(stage.pool[0] * stage.pool[1]):
            part = gated
            if winner is not None:
                chosen = b.icmp_signed("==", winner, k.whole(place))
                part = b.select(chosen, gated, k.constant(0.0))
            window = k.at(x, _window(k, stage, row, column, place))
            for sum_, tap in zip(sums, taps, strict=True):
                one = k.load_scalar(window, stage.tap_offset(tap))
                k.set(sum_, k.fma(k.broadcast(one), part, k.get(sum_)))
    for tap, sum_ in zip(taps, sums, strict=True):
        k.store(k.get(sum_), room, tap * k.lanes)
    if bias is not None:
        k.store(k.get(total), biases, filter_, count)


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
