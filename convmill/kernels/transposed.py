"""Transposed convolutions: each place of the input is spread over a window of the output.

    place j of the input reaches place j * stride + tap * dilation - cut of the output

Forward each output place gathers what reaches it: those whose place + cut leave the same rest when
divided by the stride, a sub-grid, gather through the same taps from neighbours. Backward it is a
convolution of the gradient, with strides. Kernels are held as those of convolutions are: filters
first, (filters, kernel height x width x channels in).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from convmill.kernels import biases, gating, ir
from convmill.kernels.build import Kernel
from convmill.kernels.copies import in_copy
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.functions import activate
from convmill.kernels.lang import Emitter, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.stages import TransposedStage

# Launches ----------------------------------------------------------------------------------------


def forward(site: Site[TransposedStage]) -> list[Launch]:
    """y = activation(transposed convolution(x) + bias)."""
    stage = site.stage
    bias = () if stage.bias is None else (of_matrix("parameter", stage.bias),)
    read = (value(stage.input), of_matrix("pack", stage.kernel), *bias)
    return [Launch("transposed.forward", site.of, Images(), read, (value(stage.output),))]


def backward(site: Site[TransposedStage]) -> list[Launch]:
    """The gradient before the activation, in place, and the gradient of x."""
    stage, launches = site.stage, gating.gated(site)
    if site.gradients.input:
        read = (gradient(stage.output), of_matrix("parameter", stage.kernel))
        written, kernel = (gradient(stage.input),), "transposed.input_gradient"
        room = stage.spread[0] * stage.spread[1] * stage.output.channels
        launches.append(Launch(kernel, site.of, Images(), read, written, scratch=room))
    return launches


def weight_gradients(site: Site[TransposedStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage, behind = site.stage, gradient(site.stage.output)
    filters = stage.output.channels
    read, written = (value(stage.input), behind), (of_matrix("gradient_of", stage.kernel),)
    work = stage.taps * filters * stage.input.values
    over, kernel = Shares(filters), "transposed.weight_gradient"
    return [Launch(kernel, site.of, over, read, written, work), *biases.gradients(site)]


def words(stage: TransposedStage) -> str:
    """What is computed."""
    text = f"transposed conv {'x'.join(map(str, stage.kernel_size))}"
    name = stage.activation.name
    return text if name == "linear" else f"{text} + {name}"


def tiles(stage: TransposedStage) -> str:
    """Register tiles."""
    assert stage.choice is not None
    tile, back = stage.choice.forward, stage.choice.weight_gradient
    text = f"{tile.rows} places x {tile.vectors}"
    return text if back is None else f"{text}; dW {back.rows} filters x {back.vectors}"


# Kernels -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gathered:
    """Of a sub-grid along one axis, ``count`` places: the n-th gathers through ``taps`` taps, the
    i-th of which is ``tap + i * stride``, from input place ``n + place - i * dilation``."""

    count: Index
    taps: Index
    tap: Index
    place: Index


def _gathered(e: Emitter, stage: TransposedStage, axis: int, first: Index) -> _Gathered:
    """The sub-grid that begins with output place ``first``."""
    stride, size = stage.strides[axis], (stage.output.height, stage.output.width)[axis]
    shifted = e.add(first, stage.cut[axis])
    place = e.divide(shifted, stride)
    tap = e.sub(shifted, e.mul(place, stride))

    def pieces(total: int, less: Index) -> Index:
        return e.divide(e.sub(total + stride - 1, less), stride)

    return _Gathered(pieces(size, first), pieces(stage.kernel_size[axis], tap), tap, place)


def write_forward(k: Kernel) -> None:
    """y = activation(transposed convolution(x) + bias); a tile of places x filters of a sub-grid
    stays in registers over all taps and channels."""
    stage = k.stage(TransposedStage)
    assert stage.choice is not None
    tile = stage.choice.forward
    bias = None if stage.bias is None else k.pointer(of_matrix("parameter", stage.bias))
    for filter_, counts in k.runs(stage.output.channels, tile.vectors):
        starts = [
            k.constant(0.0) if bias is None else k.load(bias, k.add(filter_, v * k.lanes), count)
            for v, count in enumerate(counts)
        ]
        grids = (min(stage.strides[0], stage.output.height), stage.strides[1])
        with k.loop(0, grids[0]) as top, k.loop(0, min(grids[1], stage.output.width)) as left:
            down, along = (_gathered(k, stage, *one) for one in ((0, top), (1, left)))
            with k.loop(0, down.count) as row:
                for first, last, wide in _cut(k, along.count, tile.rows):
                    with k.loop(first, last, wide) as column:
                        sums = _gather(k, stage, (down, along), (row, column, filter_),
                                       starts, wide)  # fmt: skip
                        place = (k.add(top, k.mul(row, stage.strides[0])), left)
                        _store(k, stage, sums, place, column, (filter_, counts))


def _cut(e: Emitter, count: Index, wide: int) -> list[tuple[Index, Index, int]]:
    """(first, last, how many at once): pieces of so many, and what is left one by one."""
    full = e.mul(e.divide(count, wide), wide)
    return [(0, full, wide), (full, count, 1)] if wide > 1 else [(0, count, 1)]


def _gather(
    k: Kernel,
    stage: TransposedStage,
    grids: tuple[_Gathered, _Gathered],
    at: tuple[Index, Index, Index],
    starts: list[ir.Value],
    wide: int,
) -> list[list[ir.Value]]:
    """Sums of ``wide`` places beside each other, vectors of filters each, at (row, column, filter)
    of a sub-grid."""
    x, weights = k.pointer(value(stage.input)), k.pointer(of_matrix("pack", stage.kernel))
    copy, channels = k.build.network.matrices[stage.kernel].copy("pack"), stage.input.channels
    (down, along), (row, column, filter_) = grids, at
    sums = [[k.variable(start) for start in starts] for _ in range(wide)]
    with k.loop(0, down.taps) as i, k.loop(0, along.taps) as j:
        taps = [
            k.add(grid.tap, k.mul(n, stride))
            for grid, n, stride in zip(grids, (i, j), stage.strides, strict=True)
        ]
        line = k.add(row, k.sub(down.place, k.mul(i, stage.dilation[0])))
        place = k.add(column, k.sub(along.place, k.mul(j, stage.dilation[1])))
        base = k.at(x, k.add(pixel_at(k, stage.input, line, place)))
        first = k.mul(k.add(k.mul(taps[0], stage.kernel_size[1]), taps[1]), channels)
        with k.loop(0, channels) as channel:
            here = in_copy(k, copy, filter_, k.add(first, channel))
            factors = [k.load(weights, k.add(here, v * copy.vector)) for v in range(len(starts))]
            for p, totals in enumerate(sums):
                one = k.broadcast(k.load_scalar(base, k.add(channel, p * channels)))
                for total, factor in zip(totals, factors, strict=True):
                    k.set(total, k.fma(one, factor, k.get(total)))
    return sums


def _store(
    k: Kernel,
    stage: TransposedStage,
    sums: list[list[ir.Value]],
    place: tuple[Index, Index],
    column: Index,
    filters: tuple[Index, list[int]],
) -> None:
    """Activate sums and store them, from the ``column``-th place of a sub-grid's row on, which
    begins at ``place``."""
    y, (filter_, counts) = k.pointer(value(stage.output)), filters
    for p, totals in enumerate(sums):
        there = k.add(place[1], k.mul(k.add(column, p), stage.strides[1]))
        pixel = k.add(pixel_at(k, stage.output, place[0], there), filter_)
        for v, (total, count) in enumerate(zip(totals, counts, strict=True)):
            result = activate(k, stage.activation, k.get(total))
            k.store(result, y, k.add(pixel, v * k.lanes), count)


def write_input_gradient(k: Kernel) -> None:
    """gradient of x = convolution of the gradient of y, which is put between zeros where it was
    cut; a tile of places x channels stays in registers over all taps and filters."""
    stage = k.stage(TransposedStage)
    assert stage.choice is not None
    assert stage.choice.input_gradient is not None
    tile, width = stage.choice.input_gradient, stage.input.width
    _lay_out(k, stage)
    for channel, counts in k.runs(stage.input.channels, tile.vectors):
        with k.loop(0, stage.input.height) as row:
            for first, last, wide in _cut(k, width, tile.rows):
                with k.loop(first, last, wide) as column:
                    _input_tile(k, stage, (row, column, channel), wide, counts)


def _lay_out(k: Kernel, stage: TransposedStage) -> None:
    """The gradient of y inside zeros, as large as all that the input was spread over."""
    behind, space, output = k.pointer(gradient(stage.output)), k.told("scratch"), stage.output
    line = stage.spread[1] * output.channels
    k.fill_zero(space, stage.spread[0] * line)
    with k.loop(0, output.height) as row:
        source = k.at(behind, k.add(output.origin, k.mul(row, output.row)))
        start = k.mul(k.add(row, stage.cut[0]), line)
        target = k.at(space, k.add(start, stage.cut[1] * output.channels))

        def copy(at: Index, count: int) -> None:
            k.store(k.load(source, at, count), target, at, count)

        k.vectors(output.width * output.channels, copy)


def _input_tile(
    k: Kernel, stage: TransposedStage, at: tuple[Index, Index, Index], wide: int, counts: list[int]
) -> None:
    """``wide`` places beside each other, vectors of channels each, at (row, column, channel)."""
    space, weights = k.told("scratch"), k.pointer(of_matrix("parameter", stage.kernel))
    result, filters = k.pointer(gradient(stage.input)), stage.output.channels
    row, column, channel = at
    sums = [[k.variable(k.constant(0.0)) for _ in counts] for _ in range(wide)]
    with k.loop(0, stage.kernel_size[0]) as i, k.loop(0, stage.kernel_size[1]) as j:
        line = k.add(k.mul(row, stage.strides[0]), k.mul(i, stage.dilation[0]))
        place = k.add(k.mul(column, stage.strides[1]), k.mul(j, stage.dilation[1]))
        base = k.at(space, k.mul(k.add(k.mul(line, stage.spread[1]), place), filters))
        tap = k.mul(k.add(k.mul(i, stage.kernel_size[1]), j), stage.input.channels)
        with k.loop(0, filters) as filter_:
            here = k.add(k.mul(filter_, stage.taps * stage.input.channels), tap, channel)
            factors = [
                k.load(weights, k.add(here, v * k.lanes), count) for v, count in enumerate(counts)
            ]
            for p, totals in enumerate(sums):
                away = k.add(filter_, p * stage.strides[1] * filters)
                one = k.broadcast(k.load_scalar(base, away))
                for total, factor in zip(totals, factors, strict=True):
                    k.set(total, k.fma(one, factor, k.get(total)))
    for p, totals in enumerate(sums):
        pixel = k.add(pixel_at(k, stage.input, row, k.add(column, p)), channel)
        for v, (total, count) in enumerate(zip(totals, counts, strict=True)):
            k.store(k.get(total), result, k.add(pixel, v * k.lanes), count)


def write_weight_gradient(k: Kernel) -> None:
    """For each filter of a share: gradient[tap] += x x gradient at the place that the tap reached,
    over all places of all images, in their order. A tile of filters x channels of one tap stays in
    registers; it goes on from what is stored where the images are not a batch's first."""
    stage = k.stage(TransposedStage)
    assert stage.choice is not None
    tile = stage.choice.weight_gradient
    assert tile is not None
    first, last = k.told("first"), k.told("last")
    for start, stop, many in _cut(k, k.sub(last, first), tile.rows):
        with k.loop(k.add(first, start), k.add(first, stop), many) as filter_:
            for channel, counts in k.runs(stage.input.channels, tile.vectors):
                with k.loop(0, stage.kernel_size[0]) as i, k.loop(0, stage.kernel_size[1]) as j:
                    _weight_tile(k, stage, (filter_, i, j, channel), many, counts)


def _weight_tile(
    k: Kernel,
    stage: TransposedStage,
    at: tuple[Index, Index, Index, Index],
    many: int,
    counts: list[int],
) -> None:
    """``many`` filters times vectors of channels, at (filter, row and column of the tap, channel).
    """
    filter_, i, j, channel = at
    result, channels = k.pointer(of_matrix("gradient_of", stage.kernel)), stage.input.channels
    tap = k.add(k.mul(k.add(k.mul(i, stage.kernel_size[1]), j), channels), channel)
    lines = [k.add(k.mul(k.add(filter_, f), stage.taps * channels), tap) for f in range(many)]
    sums = [
        [
            k.variable(k.unless_fresh(k.load(result, k.add(line, v * k.lanes), count)))
            for v, count in enumerate(counts)
        ]
        for line in lines
    ]
    with k.loop(0, k.told("images")) as image:
        x, behind = (k.record(one(tensor), image) for one, tensor in
                     ((value, stage.input), (gradient, stage.output)))  # fmt: skip
        with _reaching(k, stage, 0, i) as (row, line), _reaching(k, stage, 1, j) as (column, place):
            pixel = k.add(pixel_at(k, stage.input, row, column), channel)
            reached = k.add(pixel_at(k, stage.output, line, place), filter_)
            read = [k.load(x, k.add(pixel, v * k.lanes), count) for v, count in enumerate(counts)]
            for f, totals in enumerate(sums):
                slope = k.broadcast(k.load_scalar(behind, k.add(reached, f)))
                for total, one in zip(totals, read, strict=True):
                    k.set(total, k.fma(slope, one, k.get(total)))
    for line, totals in zip(lines, sums, strict=True):
        for v, (total, count) in enumerate(zip(totals, counts, strict=True)):
            k.store(k.get(total), result, k.add(line, v * k.lanes), count)


@contextmanager
def _reaching(
    e: Emitter, stage: TransposedStage, axis: int, tap: Index
) -> Iterator[tuple[Index, Index]]:
    """Each input place whose tap reaches a place of the output along an axis, and that place."""
    sizes = (stage.input.height, stage.input.width), (stage.output.height, stage.output.width)
    read, written = (size[axis] for size in sizes)
    stride, away = stage.strides[axis], e.mul(tap, stage.dilation[axis])
    missing = e.sub(stage.cut[axis], away)  # by so much place 0 lies before the output
    first = e.maximum(0, e.divide(e.add(missing, stride - 1), stride))
    last = e.minimum(read, e.divide(e.add(missing, written - 1 + stride), stride))
    with e.loop(first, last) as place:
        yield place, e.sub(e.mul(place, stride), missing)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradients,
    kernels={
        "transposed.forward": write_forward,
        "transposed.input_gradient": write_input_gradient,
        "transposed.weight_gradient": write_weight_gradient,
        **biases.KERNELS,
        **gating.KERNELS,
    },
    words=words,
    tiles=tiles,
)
