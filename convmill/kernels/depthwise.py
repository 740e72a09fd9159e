"""Depthwise convolutions: each channel by itself, with as many filters as the multiplier says.

Channels of the input are in the lanes. The kernel is held as kernel height x kernel width x filters
of a channel x channels, so that the weights of a tap are neighbours as pixels' channels are. Where
a channel has several filters, what belongs to one of them lies that far apart in the output.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from convmill.kernels import gating
from convmill.kernels.build import Kernel
from convmill.kernels.functions import activate
from convmill.kernels.lang import Emitter, Index, cover
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.stages import DepthwiseStage, Tensor
from convmill.lower.subgrids import SubGrid, beyond, subgrids

# Launches ----------------------------------------------------------------------------------------


def forward(site: Site[DepthwiseStage]) -> list[Launch]:
    """y = activation(convolution(x) + bias)."""
    stage = site.stage
    weights = tuple(of_matrix("parameter", index) for index in stage.parameters)
    read, written = (value(stage.input), *weights), (value(stage.output),)
    return [Launch("depthwise.forward", site.of, Images(), read, written)]


def backward(site: Site[DepthwiseStage]) -> list[Launch]:
    """The gradient before the activation, in place, and the gradient of x."""
    stage, launches = site.stage, gating.gated(site)
    if site.gradients.input:
        read = (gradient(stage.output), of_matrix("parameter", stage.kernel))
        written, room = (gradient(stage.input),), _Room(stage).size(site.lanes)
        launches.append(
            Launch("depthwise.input_gradient", site.of, Images(), read, written, scratch=room)
        )
    return launches


def weight_gradient(site: Site[DepthwiseStage]) -> list[Launch]:
    """Gradients of kernel and bias, summed over the images in their order."""
    stage = site.stage
    over = Shares(stage.input.channels, site.lanes)
    read = (value(stage.input), gradient(stage.output))
    written = tuple(of_matrix("gradient_of", index) for index in stage.parameters)
    work = stage.taps * stage.output.values
    return [Launch("depthwise.weight_gradient", site.of, over, read, written, work)]


def words(stage: DepthwiseStage) -> str:
    """What is computed."""
    text = f"depthwise {'x'.join(map(str, stage.kernel_size))}"
    name = stage.activation.name
    return text if name == "linear" else f"{text} + {name}"


def tiles(stage: DepthwiseStage) -> str:
    """Register tiles."""
    assert stage.choice is not None
    text, sums = f"{stage.choice.columns} places", stage.choice.sums
    return text if sums is None else f"{text}; dW {sums} taps"


# Kernels -----------------------------------------------------------------------------------------

# What is read of a line of places: where it starts, and (weights, place along it) for each tap.
Line = tuple[Index, list[tuple[ir.Value, int]]]


def write_forward(k: Kernel) -> None:
    """y = activation(convolution(x) + bias): for a vector of channels the weights stay in
    registers, as far as there are enough, and with them the sums of some places of a row."""
    stage = k.stage(DepthwiseStage)
    assert stage.choice is not None
    columns, x = stage.choice.columns, k.pointer(value(stage.input))
    bias = None if stage.bias is None else k.pointer(of_matrix("parameter", stage.bias))

    def one_filter(channel: Index, count: int, filter_: int) -> None:
        weights = _weights(k, stage, channel, count, filter_)
        out = k.add(k.mul(channel, stage.multiplier), filter_)
        start = k.constant(0.0)
        if bias is not None:
            start = _load_apart(k, bias, out, stage.multiplier, count)
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
                    away = (k.mul(row, steps[0]), k.mul(column, steps[1]))
                    base = k.at(x, k.add(*away, channel, stage.corner))
                    sums = _sums(k, base, lines, (stage.strides[1], stage.input.channels),
                                 [start] * wide, count)  # fmt: skip
                    for c, total in enumerate(sums):
                        at = k.add(_pixel(k, stage.output, row, k.add(column, c)), out)
                        y = activate(k, stage.activation, total)
                        _store_apart(k, y, k.pointer(value(stage.output)), at,
                                     stage.multiplier, count)  # fmt: skip

    def all_filters(channel: Index, count: int) -> None:
        for filter_ in range(stage.multiplier):
            one_filter(channel, count, filter_)

    k.vectors(stage.input.channels, all_filters)


def _weights(
    k: Kernel, stage: DepthwiseStage, channel: Index, count: int, filter_: int
) -> list[list[ir.Value]]:
    """Weights of one filter of a vector of channels, by row and column of the kernel."""
    held = k.pointer(of_matrix("parameter", stage.kernel))
    height, width = stage.kernel_size
    return [
        [k.load(held, k.add(_tap(stage, i, j, filter_), channel), count) for j in range(width)]
        for i in range(height)
    ]


def _tap(stage: DepthwiseStage, row: int, column: int, filter_: int) -> int:
    """Where the weights of a tap start."""
    tap = row * stage.kernel_size[1] + column
    return (tap * stage.multiplier + filter_) * stage.input.channels


def _pixel(e: Emitter, tensor: Tensor, row: Index, column: Index) -> Index:
    """Offset of a pixel's first channel."""
    return e.add(tensor.origin, e.mul(row, tensor.row), e.mul(column, tensor.channels))


def _sums(
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


class _Room:
    """A thread's room for the gradient of one vector of channels inside a border of zeros, as wide
    as the sub-grids of the input look: a plane of rows x columns x lanes for each filter."""

    def __init__(self, stage: DepthwiseStage) -> None:
        self.grids: list[tuple[SubGrid, ...]] = []
        self.border, self.extent = [0, 0], [0, 0]
        sizes = (stage.input.height, stage.input.width), (stage.output.height, stage.output.width)
        for axis, (read, written) in enumerate(zip(*sizes, strict=True)):
            window = (stage.kernel_size[axis], stage.strides[axis], stage.dilation[axis])
            grids = subgrids(read, *window, stage.padding[2 * axis])
            before, after = beyond(grids, written)
            self.grids.append(grids)
            self.border[axis], self.extent[axis] = before, before + written + after
        self.planes = stage.multiplier

    def size(self, lanes: int) -> int:
        """float32 elements of it."""
        return self.planes * self.extent[0] * self.extent[1] * lanes

    def place(self, e: Emitter, plane: int, row: Index, column: Index) -> Index:
        """Offset of an output place."""
        line = e.add(row, self.border[0] + plane * self.extent[0])
        return e.mul(e.add(e.mul(line, self.extent[1]), column, self.border[1]), e.lanes)


def write_input_gradient(k: Kernel) -> None:
    """gradient of x = for each place the sum over the taps through which it was read.

    A vector of channels at a time the gradient of y is put inside a border of zeros, so that no
    place is told from another.
    """
    stage = k.stage(DepthwiseStage)
    assert stage.choice is not None
    room, space, columns = _Room(stage), k.told("scratch"), stage.choice.columns
    result = k.pointer(gradient(stage.input))
    k.fill_zero(space, room.size(k.lanes))

    def one_vector(channel: Index, count: int) -> None:
        _lay_out(k, stage, room, channel, count)
        weights = [
            _weights(k, stage, channel, count, filter_) for filter_ in range(stage.multiplier)
        ]
        for down in room.grids[0]:
            for along in room.grids[1]:
                lines = [
                    (
                        room.place(k, plane, offset, 0),
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
                            for c, total in enumerate(_sums(k, base, lines, (1, k.lanes), zeros)):
                                place = (
                                    k.add(k.mul(row, down.step), down.first),
                                    k.add(k.mul(k.add(column, c), along.step), along.first),
                                )
                                at = k.add(_pixel(k, stage.input, *place), channel)
                                k.store(total, result, at, count)

    k.vectors(stage.input.channels, one_vector)


def _lay_out(k: Kernel, stage: DepthwiseStage, room: _Room, channel: Index, count: int) -> None:
    """The gradient of a vector of channels, each filter's in a plane of its own."""
    behind, space = k.pointer(gradient(stage.output)), k.told("scratch")
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        pixel = k.add(_pixel(k, stage.output, row, column), k.mul(channel, stage.multiplier))
        for filter_ in range(stage.multiplier):
            one = _load_apart(k, behind, k.add(pixel, filter_), stage.multiplier, count)
            k.store(one, space, room.place(k, filter_, row, column))


def write_weight_gradient(k: Kernel) -> None:
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
        pixel = k.add(_pixel(k, stage.output, row, column), out)
        gradients = {
            filter_: _load_apart(k, behind, k.add(pixel, filter_), stage.multiplier, count)
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
        at, apart = k.add(_tap(stage, *tap, filter_), channel), 1
    else:
        assert stage.bias is not None
        stored = k.pointer(of_matrix("gradient_of", stage.bias))
        at, apart = k.add(k.mul(channel, stage.multiplier), filter_), stage.multiplier
    total = k.constant(0.0)
    if more is not None:
        total = k.builder.fadd(_load_apart(k, stored, at, apart, count), more)
    _store_apart(k, total, stored, at, apart, count)


def _load_apart(e: Emitter, pointer: ir.Value, offset: Index, apart: int, count: int) -> ir.Value:
    """A vector of values ``apart`` from one another; lanes from ``count`` on are zero."""
    if apart == 1:
        return e.load(pointer, offset, count)
    found = e.constant(0.0)
    for lane in range(count):
        one = e.load_scalar(pointer, e.add(offset, lane * apart))
        found = e.builder.insert_element(found, one, _lane(lane))
    return found


def _store_apart(
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
    return ir.Constant(ir.IntType(32), number)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "depthwise.forward": write_forward,
        "depthwise.input_gradient": write_input_gradient,
        "depthwise.weight_gradient": write_weight_gradient,
        **gating.KERNELS,
    },
    words=words,
    tiles=tiles,
)
