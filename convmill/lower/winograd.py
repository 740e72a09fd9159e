"""Where Winograd's algorithm is the quickest, and with which tiles: models of cycles.

[conv 3x3, 64 -> 64, 24x24]  =>  forward F(4x4, 3x3), 6x6 tiles, 4 rows at a time
[conv 3x3, 192 -> 192, 8x8]  =>  forward F(4x4, 3x3), 2x2 tiles, those of 8 images at a time
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

from convmill.lower.choices import Filtering, Winograd, WinogradWeights
from convmill.lower.lines import round_up
from convmill.lower.machine import Machine
from convmill.lower.register_tiles import evenly, sums_tile
from convmill.lower.slices import are_few
from convmill.lower.stages import ConvolutionStage
from convmill.plan.graph.shapes import Pair

LEAST_WINOGRAD_CHANNELS = 16
TRANSFORM_CYCLES = {  # of a tile's vector: input, output
    Filtering(2, 3): (110, 120),
    Filtering(4, 3): (220, 220),
    Filtering(2, 5): (150, 170),
    Filtering(4, 5): (450, 420),
}
TOGETHER = (1, 2, 4, 8)  # images whose tiles may go through the products at a time
KEPT_BYTES = 1536 * 1024  # of Winograd's weights: more do not stay in the second cache
KEPT_RATE, LATE_RATE = 32, 13  # bytes a cycle, from the second cache and from behind it
LIVE_CYCLES = 0.55  # a vector along lists behind a relu: half of the places are live
DENSE_CYCLES = 0.75  # a vector of weights' gradients over all places
SUMS_BYTES = 1024 * 1024  # of Winograd's weight gradients: they should stay in the second cache
SPREAD_BYTES = 512 * 1024  # of what is transformed for them
LEAST_TILES = 16  # for whose sums to be read and stored
LEAST_GATHERED = 128  # tiles, for sums to be gathered
WINOGRAD_BYTES = 256 * 1024  # of transformed tiles: they should stay in the second cache
CUTTING = ("relu",)  # activations behind which many gradients are zero
Tile = TypeVar("Tile", Winograd, WinogradWeights)


def is_dense(stage: ConvolutionStage) -> bool:
    """Whether all places have a gradient: nothing pools, and no relu cuts gradients off."""
    return not stage.pooled and stage.groups == 1 and stage.activation.name not in CUTTING


def winograd_forward(stage: ConvolutionStage, machine: Machine, most: int) -> Winograd | None:
    """Winograd's minimal filtering (Lavin and Gray 2016) forward, where that is quicker."""
    places = math.prod(stage.computed)
    blocks = -(-stage.output.channels // machine.lanes)
    directly = math.prod(stage.kernel_size) * places * stage.input.channels * blocks / 2
    return quickest(forward_tiles(stage, machine, most), directly)


def winograd_back(stage: ConvolutionStage, machine: Machine, most: int) -> Winograd | None:
    """The same for the gradient of the input, where all places have one or half of them: behind
    pooling more are dead than Winograd's algorithm saves."""
    sizes = (stage.output.channels, stage.input.channels)
    products = math.prod(stage.kernel_size) * sizes[0] * -(-sizes[1] // machine.lanes)
    if is_dense(stage):
        otherwise = products * stage.input.height * stage.input.width / 2
    else:
        otherwise = products * stage.output.height * stage.output.width * LIVE_CYCLES
    return quickest(back_tiles(stage, machine, most), otherwise)


def forward_tiles(
    stage: ConvolutionStage, machine: Machine, most: int
) -> Iterator[tuple[float, Winograd]]:
    """Every tile for the forward pass, of at most so many outputs along an axis, behind its
    modelled cycles."""
    if stage.pool in ((1, 1), (2, 2)):
        sizes = (stage.input.channels, stage.output.channels)
        yield from _tiles(stage, stage.computed, sizes, machine, most)


def back_tiles(
    stage: ConvolutionStage, machine: Machine, most: int
) -> Iterator[tuple[float, Winograd]]:
    """The same for the gradient of the input, where nothing pools."""
    if not stage.pooled:
        sizes = (stage.output.channels, stage.input.channels)
        places = (stage.input.height, stage.input.width)
        yield from _tiles(stage, places, sizes, machine, most)


def _tiles(
    stage: ConvolutionStage, places: Pair, sizes: Pair, machine: Machine, most: int
) -> Iterator[tuple[float, Winograd]]:
    """Tiles for ``places``, and ``sizes``: channels that are summed over, and filters."""
    if not is_plain(stage) or min(sizes) < LEAST_WINOGRAD_CHANNELS:
        return
    for filtering, grid in _grids(stage, places, most):
        for images in TOGETHER:
            one = winograd_tile(filtering, grid, sizes, machine, images)
            yield _winograd_cycles(one, sizes, machine), one


def quickest(tiles: Iterable[tuple[float, Tile]], otherwise: float) -> Tile | None:
    """The tile of fewest cycles, the first of those; None where fewer products are not worth their
    transforms, and ``otherwise``, so many cycles, is quicker."""
    best, tile = otherwise, None
    for cycles, one in tiles:
        if cycles < best:
            best, tile = cycles, one
    return tile


def _grids(stage: ConvolutionStage, places: Pair, most: int) -> Iterator[tuple[Filtering, Pair]]:
    """Minimal filtering of at most so many outputs along an axis, and the tiles of ``places``."""
    for filtering in TRANSFORM_CYCLES:
        outputs = filtering.outputs
        if filtering.kernel == stage.kernel_size[0] and outputs <= min(most, *places):
            yield filtering, (-(-places[0] // outputs), -(-places[1] // outputs))


def is_plain(stage: ConvolutionStage) -> bool:
    """Whether Winograd's algorithm can compute it."""
    square = stage.kernel_size[0] == stage.kernel_size[1]
    return square and stage.strides == stage.dilation == (1, 1) and stage.groups == 1


def _winograd_cycles(tile: Winograd, sizes: Pair, machine: Machine) -> float:
    """Modelled cycles for an image: the transforms of each vector, and two fused multiply-adds in
    each, or as long as the weights take that come from the second cache, or later, for each pass;
    and what is transformed where it does not stay in the second cache, there and back."""
    read, written = (-(-size // machine.lanes) for size in sizes)
    spread, gather = TRANSFORM_CYCLES[tile.filtering]
    points, tiles = tile.filtering.points, math.prod(tile.grid)
    products = tiles * points * sizes[0] * written / 2
    weights = points_bytes(tile.filtering, sizes)
    passes = -(-tile.grid[0] // tile.rows) / tile.images
    if weights > KEPT_BYTES:
        products += passes * weights / LATE_RATE
    else:
        products = max(products, passes * weights / KEPT_RATE)
    row = sizes[0] + written * machine.lanes
    if 4 * points * tile.most * row > KEPT_BYTES:
        products += 8 * points * tiles * row / LATE_RATE
    return tiles * (read * spread + written * gather) + products


def winograd_weights(
    stage: ConvolutionStage, machine: Machine, most: int, images: int
) -> WinogradWeights | None:
    """The quickest tile for the gradient of the weights, where nothing pools, of at most so many
    ``images`` together; None where another way is quicker."""
    vectors = stage.output.channels * -(-stage.input.channels // machine.lanes)
    products = math.prod(stage.kernel_size) * stage.output.places * vectors
    otherwise = products * (DENSE_CYCLES if is_dense(stage) else LIVE_CYCLES)
    return quickest(weights_tiles(stage, machine, most, images), otherwise)


def weights_tiles(
    stage: ConvolutionStage, machine: Machine, most: int, images: int
) -> Iterator[tuple[float, WinogradWeights]]:
    """Every tile for the gradient of the weights, behind its modelled cycles."""
    channels, filters = stage.input.channels, stage.output.channels
    if stage.pooled or not is_plain(stage) or min(channels, filters) < LEAST_WINOGRAD_CHANNELS:
        return
    if filters % machine.lanes:
        return
    vectors = -(-channels // machine.lanes)
    sums = 4 * filters * (stage.taps + (stage.bias is not None))
    read = 4 * (stage.input.size + stage.output.size)
    for filtering, grid in _grids(stage, (stage.output.height, stage.output.width), most):
        sliced = are_few(sums, points_bytes(filtering, (channels, filters)), read)
        limit = filters if sliced else filters // 2  # leaves two shares
        one = weights_tile(filtering, grid, (channels, filters), limit, machine, images)
        spread, weigh = TRANSFORM_CYCLES[filtering]
        products = filtering.points * filters * vectors / 2 * (1 + 2 / one.tiles)
        transforms = filters // one.filters * vectors * spread + filters // machine.lanes * weigh
        yield math.prod(grid) * (products + transforms), one


def points_bytes(filtering: Filtering, sizes: Pair) -> int:
    """Bytes of weights that are transformed, of so many channels and filters, and of the sums of
    their gradients before these are gathered: points in the place of taps."""
    return 4 * filtering.points * math.prod(sizes)


def weights_tile(
    filtering: Filtering, grid: Pair, sizes: Pair, limit: int, machine: Machine, images: int
) -> WinogradWeights:
    """As many filters at a time, up to a ``limit``, as let their sums stay in the second cache;
    tiles of several images where one has few; and so many ``images`` that gathering is rare."""
    (channels, filters), points = sizes, filtering.points
    row = round_up(channels, machine.lanes)
    fit = max(machine.lanes, SUMS_BYTES // (4 * points * row))
    shared = max(
        share
        for share in range(machine.lanes, max(machine.lanes, limit) + 1, machine.lanes)
        if filters % share == 0 and (share <= fit or share == machine.lanes)
    )
    row_bytes = 4 * points * grid[1] * (channels + shared)
    rows = evenly(grid[0], max(1, SPREAD_BYTES // row_bytes))
    together = 1
    if rows == grid[0]:
        most = min(LEAST_TILES // math.prod(grid), SPREAD_BYTES // (row_bytes * rows))
        together = min(power_of_two(most), images)
    rare = power_of_two(-(-LEAST_GATHERED // math.prod(grid)))
    tile = sums_tile(shared, channels, machine)
    return WinogradWeights(
        filtering,
        grid,
        shared,
        min(max(rare, together), images),
        together,
        rows,
        tile.rows,
        tile.vectors,
    )


def power_of_two(most: int) -> int:
    """The largest one up to ``most``, at least 1: so groups of images fit into each other."""
    return 1 << (max(most, 1).bit_length() - 1)


def winograd_tile(
    filtering: Filtering, grid: Pair, sizes: Pair, machine: Machine, images: int
) -> Winograd:
    """Whole rows of tiles that fit the cache, more where weights do not: each pass over tiles reads
    them all; where all of them fit, those of so many ``images``; and the register tile of the
    products."""
    (channels, filters), points = sizes, filtering.points
    blocks = -(-filters // machine.lanes)
    late = points_bytes(filtering, sizes) > KEPT_BYTES
    row_bytes = 4 * points * grid[1] * (channels + blocks * machine.lanes)
    budget = KEPT_BYTES if late else WINOGRAD_BYTES
    rows = max(1, min(grid[0], budget // row_bytes))
    images = images if rows == grid[0] else 1
    tile = sums_tile(images * rows * grid[1], filters, machine)
    return Winograd(filtering, grid, images, rows, tile.rows, tile.vectors)
