"""Convolution forward, with bias, activation and max pooling fused in.

Images are rows x columns x channels inside their halo; a window's row is one run of neighbours in
memory, or several where the kernel is dilated or has groups. Weights are read from their transposed
copy, vectors of filters x taps, or with groups taps x filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import folding, ir
from convmill.kernels.ahead import prefetch
from convmill.kernels.build import Kernel
from convmill.kernels.copies import in_copy, is_late
from convmill.kernels.functions import activate
from convmill.kernels.lanes import add_neighbours, interleave, load_repeated
from convmill.kernels.lang import F32, I8, Emitter, Index, cover
from convmill.lower.choices import Direct
from convmill.lower.launches import Slot, argmax, of_matrix, value
from convmill.lower.stages import ConvolutionStage

ARGMAX_BYTES = 1  # a fused window has few places
AHEAD = 16  # taps: so far ahead weights are asked for that are late


def maxima(stage: ConvolutionStage) -> Slot:
    """Which place of each pooling window reached the maximum."""
    return argmax(stage.output, ARGMAX_BYTES)


def forward(k: Kernel) -> None:
    """y = maxpool(activation(convolution(x) + bias)), and the place of each maximum.

    A tile of places x filters stays in registers over all taps; then the maximum of each window
    is taken there, and where it is kept its place as one byte.
    """
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.forward
    assert isinstance(tile, Direct)
    filters = stage.output.channels // stage.groups
    laid_out = _lay_out(k, stage, tile.taps) if tile.taps > 1 else None
    with k.loop(0, stage.groups) as group:
        x = k.at(k.pointer(value(stage.input)), k.mul(group, stage.channels_read))
        for start, counts in k.runs(filters, tile.vectors):
            filter_ = k.add(k.mul(group, filters), start)
            for top, bottom, rows in cover(stage.output.height, tile.rows):
                with k.loop(top, bottom, rows) as row:
                    for left, right, windows in cover(stage.output.width, tile.windows):
                        with k.loop(left, right, windows) as column:
                            corner, size = (filter_, row, column), (rows, windows)
                            if laid_out is None:
                                sums = _by_taps(k, stage, x, corner, size, counts, tile.unroll)
                            else:
                                sums = _by_groups(k, stage, x, corner, size, laid_out, tile.taps)
                            _finish_tile(k, stage, corner, size, counts, sums)


def biases(
    k: Kernel, stage: ConvolutionStage, filter_: Index, count: int | None = None
) -> ir.Value:
    """Biases of a vector of filters, zeros where there are none or they are folded in later."""
    if stage.bias is None or stage.folded is not None:
        return k.constant(0.0)
    return k.load(k.pointer(of_matrix("parameter", stage.bias)), filter_, count)


def _by_taps(
    k: Kernel,
    stage: ConvolutionStage,
    x: ir.Value,
    corner: tuple[Index, Index, Index],
    size: tuple[int, int],
    counts: list[int],
    unroll: int,
) -> list[list[ir.Value]]:
    """Sums of one register tile, for each vector those of its places: ``size`` windows (rows,
    columns) times ``len(counts)`` vectors; ``x`` points at the channels that they read."""
    weights = k.pointer(of_matrix("pack", stage.kernel))
    copy = k.build.network.matrices[stage.kernel].copy("pack")
    filter_, parted, places = corner[0], stage.groups > 1, _places(stage, size)
    sums = []
    for v, count in enumerate(counts):
        start = biases(k, stage, k.add(filter_, v * k.lanes), count)
        sums.append([k.variable(start) for _ in places])
    with _runs(k, stage, corner) as (line, number), k.loop(0, stage.run_length, unroll) as inside:
        first = k.add(k.mul(number, stage.run_length), inside)
        for u in range(unroll):
            tap = in_copy(k, copy, filter_, k.add(first, u))
            taps = [
                # behind the last filter there are zeros, behind a group others
                k.load(weights, k.add(tap, v * copy.vector), count if parted else None)
                for v, count in enumerate(counts)
            ]
            for v in range(len(counts) if is_late(copy) else 0):
                prefetch(k, weights, k.add(tap, v * copy.vector + AHEAD * copy.column))
            base = k.at(x, k.add(line, inside))
            for p, place in enumerate(places):
                factor = k.broadcast(k.load_scalar(base, place + u))
                for v, weight in enumerate(taps):
                    k.set(sums[v][p], k.fma(factor, weight, k.get(sums[v][p])))
    return [[k.get(one) for one in each] for each in sums]


def _places(stage: ConvolutionStage, size: tuple[int, int]) -> list[int]:
    """How far behind a tile's first window those of its places begin, by pooling windows."""
    step_row = stage.strides[0] * stage.input.row
    step_column = stage.strides[1] * stage.input.channels
    return [
        (r * stage.pool[0] + i) * step_row + (c * stage.pool[1] + j) * step_column
        for r in range(size[0])
        for c in range(size[1])
        for i in range(stage.pool[0])
        for j in range(stage.pool[1])
    ]


@contextmanager
def _runs(
    k: Kernel, stage: ConvolutionStage, corner: tuple[Index, Index, Index]
) -> Iterator[tuple[Index, Index]]:
    """For each run of neighbours in a tile's first window: where it begins, and its number."""
    _, row, column = corner
    down = stage.pool[0] * stage.strides[0] * stage.input.row
    right = stage.pool[1] * stage.strides[1] * stage.input.channels
    origin = k.add(k.mul(row, down), k.mul(column, right), stage.corner)
    with k.loop(0, stage.kernel_size[0]) as tap_row, k.loop(0, stage.runs) as run:
        line = k.add(origin, k.mul(tap_row, stage.line_step), k.mul(run, stage.run_step))
        yield line, k.add(k.mul(tap_row, stage.runs), run)


# Few filters, several taps in a vector ------------------------------------------------------------


def _groups(k: Kernel, stage: ConvolutionStage, taps: int) -> Iterator[tuple[Index, Index, int]]:
    """For each group of so many taps of a run: where in the run it begins, its number, and how many
    of its first taps the group before it has. A loop ends when the next is asked for."""
    run = stage.run_length
    with k.loop(0, run // taps) as number:
        yield k.mul(number, taps), number, 0
    if run % taps:
        yield run - taps, run // taps, taps - run % taps


def _lay_out(k: Kernel, stage: ConvolutionStage, taps: int) -> ir.Value:
    """The weights of all groups of so many taps, a vector each, with zeros for taps that the group
    before has."""
    weights = k.pointer(of_matrix("pack", stage.kernel))
    copy = k.build.network.matrices[stage.kernel].copy("pack")
    lines, each = stage.taps // stage.run_length, stage.groups_of_taps(taps)
    laid_out, zero = k.scratch(F32, lines * each * k.lanes), k.constant(0.0)
    with k.loop(0, lines) as line:
        begin, before = k.mul(line, stage.run_length), k.mul(line, each)
        for inside, number, known in _groups(k, stage, taps):
            first, at = k.add(begin, inside), k.add(before, number)
            ones = [
                zero if i < known else k.load(weights, in_copy(k, copy, 0, k.add(first, i)))
                for i in range(taps)
            ]
            k.store(interleave(k, ones), laid_out, k.mul(at, k.lanes))
    return laid_out


def _by_groups(
    k: Kernel,
    stage: ConvolutionStage,
    x: ir.Value,
    corner: tuple[Index, Index, Index],
    size: tuple[int, int],
    laid_out: ir.Value,
    taps: int,
) -> list[list[ir.Value]]:
    """The same for one vector, which holds each filter for so many taps."""
    places = _places(stage, size)
    sums = [k.variable(k.constant(0.0)) for _ in places]
    with _runs(k, stage, corner) as (line, run):
        before = k.mul(run, stage.groups_of_taps(taps))
        for inside, number, known in _groups(k, stage, taps):
            first, at = k.add(line, inside), k.add(before, number)
            weight = k.load(laid_out, k.mul(at, k.lanes))
            for place, total in zip(places, sums, strict=True):
                # zeros for what the group before has: infinity times zero is no number
                ones = load_repeated(k, x, k.add(first, place), taps, known)
                k.set(total, k.fma(ones, weight, k.get(total)))
    start = biases(k, stage, 0, stage.output.channels)
    return [[k.builder.fadd(start, add_neighbours(k, k.get(one), taps)) for one in sums]]


def _finish_tile(
    k: Kernel,
    stage: ConvolutionStage,
    corner: tuple[Index, Index, Index],
    size: tuple[int, int],
    counts: list[int],
    sums: list[list[ir.Value]],
) -> None:
    """Activate the ``sums`` of a tile, take each window's maximum, store it and its place."""
    filter_, row, column = corner
    area = stage.pool[0] * stage.pool[1]
    for r in range(size[0]):
        for c in range(size[1]):
            for v, count in enumerate(counts):
                first = (r * size[1] + c) * area
                window = sums[v][first : first + area]
                place = (k.add(row, r), k.add(column, c), k.add(filter_, v * k.lanes))
                store_window(k, stage, window, place, count)


def store_window(
    k: Kernel,
    stage: ConvolutionStage,
    window: list[ir.Value],
    place: tuple[Index, Index, Index],
    count: int,
    image: Index = 0,
) -> None:
    """Activate the sums of one pooling window, store the maximum at ``place`` (row, column,
    filter) of an image's output and, where the launch keeps it, which of them it was."""
    row, column, channel = place
    target = k.add(
        stage.output.origin,
        k.mul(row, stage.output.row),
        k.mul(column, stage.output.channels),
    )
    window = [folding.finish(k, stage, one, channel, count) for one in window]
    highest, winner = _maximum(k, stage, window)
    k.store(highest, k.record(value(stage.output), image), k.add(target, channel), count)
    kept = maxima(stage)
    if kept in k.launch.writes:
        pixel = k.add(k.mul(row, stage.output.width), column)
        at = k.add(k.mul(pixel, stage.output.channels), channel)
        k.store(k.builder.trunc(winner, k.bytes), k.record(kept, image), at, count, I8)


def _maximum(
    e: Emitter, stage: ConvolutionStage, window: list[ir.Value]
) -> tuple[ir.Value, ir.Value]:
    """Maximum of activated values and the index of the first that reaches it; no number where one
    of them is none.

    relu and linear never change the order, so that they act on the maximum alone: where relu
    makes a tie, it is at zero and no gradient flows.
    """
    b = e.builder
    late = stage.activation.name in ("linear", "relu") and stage.activation.ceiling is None
    if not late:
        window = [activate(e, stage.activation, one) for one in window]
    best, winner = window[0], e.whole(0)
    for place, one in enumerate(window[1:], start=1):
        larger = b.fcmp_ordered(">", one, best)
        best = b.select(larger, one, best)
        winner = b.select(larger, e.whole(place), winner)
    best = _or_no_number(e, window, best) if len(window) > 1 else best
    return (activate(e, stage.activation, best) if late else best), winner


def _or_no_number(e: Emitter, window: list[ir.Value], best: ir.Value) -> ir.Value:
    """``best``, or what is no number in lanes where any of ``window`` is none; two are looked at
    by each comparison."""
    b = e.builder
    pairs = zip(window[::2], [*window[1::2], window[-1]], strict=False)
    found = [b.fcmp_unordered("uno", one, other) for one, other in pairs]
    missing = found[0]
    for one in found[1:]:
        missing = b.or_(missing, one)
    return b.select(missing, e.constant(float("nan")), best)
