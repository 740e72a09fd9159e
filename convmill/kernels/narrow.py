"""Weight gradient of a convolution whose windows are small: a first layer on grey or RGB images.

Filters are in the lanes and every place counts; the place that a pooling window did not choose
contributes zero. No lists are built.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.lang import F32, I8, I64, POINTER, Emitter, Index
from convmill.kernels.math import gate
from convmill.lower.stages import ConvolutionStage


def weight_gradient(
    module: ir.Module,
    stage: ConvolutionStage,
    taps_at_once: int,
    lanes: int,
    record: int,
    slots: dict[str, int],
) -> ir.Function:
    """(records, images, gradient, bias gradient, first filter, last filter).

    For one vector of filters, the sums of some taps stay in registers over all places of all
    images, taken in order: sum[tap] += x[tap] x gradient. ``first filter`` is a multiple of lanes;
    ``record`` is the length of a record and ``slots`` the offsets in it, in bytes.
    """
    e = Emitter(
        module, f"{stage.name}.weight_gradient", [POINTER, I64, POINTER, POINTER, I64, I64], lanes
    )
    *_, first, last = e.arguments
    filters = stage.output.channels
    whole = filters - filters % lanes
    stop = e.minimum(last, whole)
    for start in range(0, stage.taps, taps_at_once):
        taps = range(start, min(stage.taps, start + taps_at_once))
        with e.loop(first, stop, lanes) as filter_:
            _vector(e, stage, filter_, lanes, taps, record, slots)
        if filters % lanes:
            with e.when(e.less(whole, last)):
                _vector(e, stage, whole, filters % lanes, taps, record, slots)
    return e.finish()


def _vector(
    e: Emitter,
    stage: ConvolutionStage,
    filter_: Index,
    count: int,
    taps: range,
    record: int,
    slots: dict[str, int],
) -> None:
    """Gradients of ``taps`` for one vector of filters, and of their biases with the first tap."""
    b = e.builder
    records, images, gradient, bias, *_ = e.arguments
    sums = [e.variable(e.constant(0.0)) for _ in taps]
    total = e.variable(e.constant(0.0))
    with e.loop(0, images) as image:
        base = e.at(records, e.mul(image, record), I8)
        x = e.at(base, slots[f"value/{stage.input.buffer}"], I8)
        with e.loop(0, stage.output.height) as row, e.loop(0, stage.output.width) as column:
            gated, winner = _gated(e, stage, base, row, column, filter_, count, slots)
            e.set(total, b.fadd(e.get(total), gated))
            for place in range(stage.pool[0] * stage.pool[1]):
                part = gated
                if winner is not None:
                    chosen = b.icmp_signed("==", winner, e.whole(place))
                    part = b.select(chosen, gated, e.constant(0.0))
                window = e.at(x, _window(e, stage, row, column, place))
                for sum_, tap in zip(sums, taps, strict=True):
                    line, run = divmod(tap, stage.window_row)
                    value = e.load_scalar(window, line * stage.input.row + run)
                    e.set(sum_, e.fma(e.broadcast(value), part, e.get(sum_)))
    scratch = e.scratch(F32, e.lanes)
    for sum_, tap in zip(sums, taps, strict=True):
        e.store(e.get(sum_), scratch, 0)
        with e.loop(0, count) as lane:
            at = e.add(e.mul(e.add(filter_, lane), stage.taps), tap)
            e.store_scalar(e.load_scalar(scratch, lane), gradient, at)
    if stage.bias is not None and taps.start == 0:
        e.store(e.get(total), bias, filter_, count)


def _gated(
    e: Emitter,
    stage: ConvolutionStage,
    base: ir.Value,
    row: Index,
    column: Index,
    filter_: Index,
    count: int,
    slots: dict[str, int],
) -> tuple[ir.Value, ir.Value | None]:
    """Gradient before the activation at one output place, and the place of the window it is for."""
    at = e.add(
        stage.output.origin,
        e.mul(row, stage.output.row),
        e.mul(column, stage.output.channels),
        filter_,
    )
    y = e.load(e.at(base, slots[f"value/{stage.output.buffer}"], I8), at, count)
    behind = e.load(e.at(base, slots[f"gradient/{stage.output.buffer}"], I8), at, count)
    gated = gate(e, stage.activation, y, behind)
    if not stage.pooled:
        return gated, None
    pixel = e.mul(e.add(e.mul(row, stage.output.width), column), stage.output.channels)
    argmax = e.at(base, slots[f"argmax/{stage.name}"], I8)
    winner = e.load(argmax, e.add(pixel, filter_), count, I8)
    return gated, e.builder.zext(winner, e.integers)


def _window(e: Emitter, stage: ConvolutionStage, row: Index, column: Index, place: int) -> Index:
    """Offset in the input of the window at one place of a pooling window."""
    down, right = divmod(place, stage.pool[1])
    line = e.mul(e.add(e.mul(row, stage.pool[0]), down), stage.strides[0] * stage.input.row)
    step = stage.strides[1] * stage.input.channels
    return e.add(line, e.mul(e.add(e.mul(column, stage.pool[1]), right), step))
