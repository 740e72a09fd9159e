"""Where Winograd's algorithm is the quickest, and with which tiles: models of cycles.

[conv 3x3, 64 -> 64, 24x24]  =>  forward F(4x4), 6x6 tiles, 4 rows at a time
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from convmill.lower.choices import Winograd, WinogradWeights
from convmill.lower.machine import Machine
from convmill.lower.register_tiles import evenly, sums_tile
from convmill.lower.stages import ConvolutionStage
from convmill.plan.graph import Pair

LEAST_WINOGRAD_CHANNELS = 16
TRANSFORM_CYCLES = {2: (180, 240), 4: (350, 480)}  # of a tile's vector, by outputs: input, output
KEPT_BYTES = 1536 * 1024  # of Winograd's weights: more do not stay in the second cache
KEPT_RATE, LATE_RATE = 32, 13  # bytes a cycle, from the second cache and from behind it
LIVE_CYCLES = 0.8  # a vector along lists behind a relu: half of the places live, and all is stored
DENSE_CYCLES = 1.5  # a vector over all places, as against two in each
SUMS_BYTES = 1024 * 1024  # of Winograd's weight gradients: they should stay in the second cache
SPREAD_BYTES = 512 * 1024  # of what is transformed for them
LEAST_TILES = 16  # for whose sums to be read and stored
LEAST_GATHERED = 128  # tiles, for sums to be gathered
WINOGRAD_BYTES = 256 * 1024  # of transformed tiles: they should stay in the second cache
CUTTING = ("relu",)  # activations behind which many gradients are zero


def is_dense(stage: ConvolutionStage) -> bool:
    """Whether all places have a gradient: nothing pools, and no relu cuts gradients off."""
    return not stage.pooled and stage.groups == 1 and stage.activation.name not in CUTTING


def winograd_forward(stage: ConvolutionStage, machine: Machine, most: int) -> Winograd | None:
    """Winograd's minimal filtering (Lavin and Gray 2016) forward, where that is quicker."""
    windows = (stage.output.height, stage.output.width)
    sizes = (stage.input.channels, stage.output.channels)
    places = math.prod(windows) * math.prod(stage.pool)
    directly = 9 * places * sizes[0] * -(-sizes[1] // machine.lanes) / 2
    return _winograd(stage, windows, stage.pool, sizes, machine, most, directly)


def winograd_back(stage: ConvolutionStage, machine: Machine, most: int) -> Winograd | None:
    """The same for the gradient of the input, where all places have one or half of them: behind
    pooling more are dead than Winograd's algorithm saves."""
    if stage.pooled:
        return None
    windows = (stage.input.height, stage.input.width)
    sizes = (stage.output.channels, stage.input.channels)
    blocks = -(-sizes[1] // machine.lanes)
    if is_dense(stage):
        otherwise = 9 * math.prod(windows) * sizes[0] * blocks / 2
    else:
        places = stage.output.height * stage.output.width
        otherwise = 9 * places * LIVE_CYCLES * sizes[0] * blocks
    return _winograd(stage, windows, (1, 1), sizes, machine, most, otherwise)


def _winograd(
    stage: ConvolutionStage,
    windows: Pair,
    pool: Pair,
    sizes: Pair,
    machine: Machine,
    most: int,
    otherwise: float,
) -> Winograd | None:
    """The quickest tile for so many ``windows`` of ``pool`` outputs, and ``sizes``, channels that
    are summed over and filters; None where fewer products are not worth their transforms, and
    ``otherwise``, so many cycles, is quicker."""
    if not is_plain(stage) or pool not in ((1, 1), (2, 2)):
        return None
    places = (windows[0] * pool[0], windows[1] * pool[1])
    if min(sizes) < LEAST_WINOGRAD_CHANNELS:
        return None
    best, tile = otherwise, None
    for outputs, grid in _grids(places, most):
        one = winograd_tile(outputs, grid, sizes, machine)
        cycles = _winograd_cycles(one, sizes, machine)
        if cycles < best:
            best, tile = cycles, one
    return tile


def _grids(places: Pair, most: int) -> Iterator[tuple[int, Pair]]:
    """How many outputs a tile may have along an axis, at most so many, and the tiles of ``places``.
    """
    for outputs in TRANSFORM_CYCLES:
        if outputs <= min(most, *places):
            yield outputs, (-(-places[0] // outputs), -(-places[1] // outputs))


def is_plain(stage: ConvolutionStage) -> bool:
    """Whether Winograd's algorithm can compute it."""
    plain = stage.kernel_size == (3, 3) and stage.strides == stage.dilation == (1, 1)
    return plain and stage.groups == 1


def _winograd_cycles(tile: Winograd, sizes: Pair, machine: Machine) -> float:
    """Modelled cycles for an image: the transforms of each vector, and two fused multiply-adds in
    each, or as long as the weights take that come from the second cache, or later, for each pass.
    """
    read, written = (-(-size // machine.lanes) for size in sizes)
    spread, gather = TRANSFORM_CYCLES[tile.outputs]
    products = math.prod(tile.grid) * tile.points * sizes[0] * written / 2
    weights = -(-tile.grid[0] // tile.rows) * 4 * tile.points * math.prod(sizes)
    if 4 * tile.points * math.prod(sizes) > KEPT_BYTES:
        products += weights / LATE_RATE
    else:
        products = max(products, weights / KEPT_RATE)
    return math.prod(tile.grid) * (read * spread + written * gather) + products


def winograd_weights(
    stage: ConvolutionStage, machine: Machine, most: int, images: int
) -> WinogradWeights | None:
    """The quickest tile for the gradient of the weights, where nothing pools, of at most so many
    ``images`` together; None where fewer products are not worth their transforms."""
    channels, filters = stage.input.channels, stage.output.channels
    places = (stage.output.height, stage.output.width)
    if stage.pooled or not is_plain(stage) or min(channels, filters) < LEAST_WINOGRAD_CHANNELS:
        return None
    if filters % machine.lanes:
        return None
    vectors = -(-channels // machine.lanes)
    best = 9 * math.prod(places) * filters * vectors / 2
    best *= DENSE_CYCLES if is_dense(stage) else LIVE_CYCLES
    choice = None
    for outputs, grid in _grids(places, most):
        one = weights_tile(outputs, grid, (channels, filters), machine, images)
        spread, weigh = TRANSFORM_CYCLES[outputs]
        products = one.points * filters * vectors / 2 * (1 + 2 / one.tiles)
        transforms = filters // one.filters * vectors * spread + filters // machine.lanes * weigh
        cycles = math.prod(grid) * (products + transforms)
        if cycles < best:
            best, choice = cycles, one
    return choice


def weights_tile(
    outputs: int, grid: Pair, sizes: Pair, machine: Machine, images: int
) -> WinogradWeights:
    """As many filters at a time as leave two shares and let their sums stay in the second cache;
    tiles of several images where one has few; and so many ``images`` that gathering is rare."""
    channels, filters = sizes
    points = (outputs + 2) ** 2
    row = -(-channels // machine.lanes) * machine.lanes
    fit = max(machine.lanes, SUMS_BYTES // (4 * points * row))
    shared = max(
        share
        for share in range(machine.lanes, max(machine.lanes, filters // 2) + 1, machine.lanes)
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
        outputs,
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


def winograd_tile(outputs: int, grid: Pair, sizes: Pair, machine: Machine) -> Winograd:
    """Whole rows of tiles that fit the cache, more where weights do not: each pass over tiles reads
    them all; and the register tile of the products."""
    channels, filters = sizes
    blocks, points = -(-filters // machine.lanes), (outputs + 2) ** 2
    late = 4 * points * channels * filters > KEPT_BYTES
    row_bytes = 4 * points * grid[1] * (channels + blocks * machine.lanes)
    budget = KEPT_BYTES if late else WINOGRAD_BYTES
    together = max(1, min(grid[0], budget // row_bytes))
    tile = sums_tile(together * grid[1], filters, machine)
    return Winograd(outputs, grid, together, tile.rows, tile.vectors)
