"""Convolutions by Winograd's minimal filtering F(m x m, r x r), as Lavin and Gray (2016) use it.

m x m outputs of an r x r kernel need (m + r - 1)^2 products instead of m^2 r^2: with d a tile of
the input and g the kernel, they are A' [(G g G') * (B' d B)] A, the products summed over channels.
Tiles of 4 x 4 inputs have factors 0, 1 and 1/2, so that small integers stay exact; those of 6 x 6
and 8 x 8 have more points (``transforms.py``).

The gradient of the input is such a convolution too: of the gradients of the output between zeros,
with the kernel turned around and filters in the place of channels.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.direct import biases, store_window
from convmill.kernels.everywhere import lay_out, room_size
from convmill.kernels.lang import Index
from convmill.kernels.transforms import Vectors
from convmill.kernels.winograd_tiles import Plane, convolve, scratch
from convmill.lower.choices import Winograd
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.stages import ConvolutionStage
from convmill.lower.subgrids import room_around


def forward(k: Kernel) -> None:
    """y = maxpool(activation(convolution(x) + bias)), and the place of each maximum."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.forward
    assert isinstance(tile, Winograd)
    plane = Plane(
        tile,
        lambda image: k.at(k.record(value(stage.input), image), stage.corner),
        stage.input.row,
        stage.input.channels,
        k.pointer(of_matrix("transform", stage.kernel)),
        k.build.network.matrices[stage.kernel].copy("transform"),
        stage.output.channels,
        (stage.output.height, stage.output.width),
        stage.pool,
        k.told("scratch"),
        k.lanes,
        value(stage.output),
    )

    def put(
        image: Index,
        first: tuple[Index, Index],
        windows: list[list[Vectors]],
        filter_: Index,
        count: int,
    ) -> None:
        start = biases(k, stage, filter_, count)
        for i, line in enumerate(windows):
            for j, window in enumerate(line):
                spot = (k.add(first[0], i), k.add(first[1], j), filter_)
                sums = [k.builder.fadd(one, start) for one in window]
                store_window(k, stage, sums, spot, count, image)

    convolve(k, plane, put)


def back_scratch(stage: ConvolutionStage, tile: Winograd, lanes: int) -> int:
    """Float32 elements for the gradients between zeros, and for what is transformed."""
    sizes = (stage.output.channels, stage.input.channels, stage.input.width)
    return room_size(stage) + scratch(tile, *sizes, lanes)


def input_gradient(k: Kernel) -> None:
    """gradient of x, from gradients before the activation at all places."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.input_gradient
    assert isinstance(tile, Winograd)
    room, tensor, filters = room_around(stage), stage.input, stage.output.channels
    line, reach = room.extent[1] * filters, tile.filtering.kernel - 1
    # A place's window begins where its last tap reads.
    above, left = (room.border[axis] + stage.padding[2 * axis] - reach for axis in (0, 1))

    def laid_out(image: Index) -> ir.Value:
        return k.at(lay_out(k, stage, room, image), above * line + left * filters)

    plane = Plane(
        tile,
        laid_out,
        line,
        filters,
        k.pointer(of_matrix("turned", stage.kernel)),
        k.build.network.matrices[stage.kernel].copy("turned"),
        tensor.channels,
        (tensor.height, tensor.width),
        (1, 1),
        k.at(k.told("scratch"), room_size(stage)),
        k.lanes,
    )

    def put(
        image: Index,
        first: tuple[Index, Index],
        windows: list[list[Vectors]],
        channel: Index,
        count: int,
    ) -> None:
        behind = k.record(gradient(tensor), image)
        start = k.add(k.mul(first[0], tensor.row), k.mul(first[1], tensor.channels))
        for i, row in enumerate(windows):
            for j, (one,) in enumerate(row):
                at = tensor.origin + i * tensor.row + j * tensor.channels
                k.store(one, behind, k.add(start, channel, at), count)

    convolve(k, plane, put)
