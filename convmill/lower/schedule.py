"""How each kernel is tiled: pure data, chosen from shapes and the machine's registers.

Nothing here changes a result by one bit but the number of lanes; it only moves time.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.lower.machine import Machine
from convmill.lower.stages import ConvolutionStage, DenseStage, Matrix
from convmill.plan import algorithms


@dataclass(frozen=True)
class ForwardTile:
    """Register tile of a forward convolution: ``rows`` x ``windows`` pooling windows of outputs
    (single places where nothing is pooled), times ``vectors`` of filters; ``unroll`` taps."""

    rows: int
    windows: int
    vectors: int
    unroll: int


@dataclass(frozen=True)
class WindowChunk:
    """Part of a filter that stays in registers in the backward kernels: ``rows`` of the kernel
    times ``vectors`` along (kernel width x channels in)."""

    rows: int
    vectors: int


@dataclass(frozen=True)
class MatrixTile:
    """Register tile of a matrix product: ``rows`` (images, or inputs) times ``vectors``."""

    rows: int
    vectors: int


IMAGES_PER_GROUP = 8
LEVEL_1_BYTES = 32 * 1024


def forward_tile(stage: ConvolutionStage, machine: Machine) -> ForwardTile:
    """The tile that needs fewest cycles by a simple model: fused multiply-adds and loads, two of
    each a cycle, remainders at the right edge counted, ties to the larger tile."""
    blocks = -(-stage.output.channels // machine.lanes)
    window = stage.pool[0] * stage.pool[1]
    budget = machine.registers - 4
    height, width = stage.output.height, stage.output.width
    best: tuple[float, int, ForwardTile] | None = None
    for vectors in {v for v in (1, 2, 3, 4, 6) if v <= blocks}:
        most = max(1, (budget - vectors) // (vectors * window))
        for windows in range(1, min(most, width) + 1):
            rows = min(height, max(1, most // windows)) if windows == width else 1
            cycles = tile_cycles(rows, windows, vectors, window, height, width, blocks)
            size = rows * windows * vectors * window
            tile = ForwardTile(rows, windows, vectors, tap_unroll(stage, size))
            if best is None or (cycles, -size) < best[:2]:
                best = (cycles, -size, tile)
    assert best is not None
    return best[2]


def tile_cycles(
    rows: int, windows: int, vectors: int, window: int, height: int, width: int, blocks: int
) -> float:
    """Modelled cycles for one tap of the whole image."""

    def cost(rows: int, windows: int, vectors: int) -> float:
        outputs = rows * windows * window
        return max(outputs * vectors / 2, (outputs + 2 * vectors) / 2, 2.0)

    def along(full: int, rest: int, rows: int, vectors: int) -> float:
        return full * cost(rows, windows, vectors) + (cost(rows, rest, vectors) if rest else 0)

    def image(vectors: int) -> float:
        full_rows, rest_rows = divmod(height, rows)
        total = full_rows * along(*divmod(width, windows), rows, vectors)
        return total + (along(*divmod(width, windows), rest_rows, vectors) if rest_rows else 0)

    full, rest = divmod(blocks, vectors)
    return full * image(vectors) + (image(rest) if rest else 0)


def tap_unroll(stage: ConvolutionStage, accumulators: int) -> int:
    """Taps of one kernel row written out behind one another: all of a short row, else few."""
    if stage.window_row <= 7:
        return stage.window_row
    most = max(1, 48 // accumulators)
    return max(u for u in range(1, most + 1) if stage.window_row % u == 0)


def window_chunk(stage: ConvolutionStage, machine: Machine) -> WindowChunk:
    """The largest part of a filter that fits the registers, cut evenly."""
    budget = max(4, machine.registers - 5)
    vectors = -(-stage.window_row // machine.lanes)
    rows = min(stage.kernel_size[0], budget)
    pieces = -(-vectors * rows // budget)
    while -(-vectors // pieces) * rows > budget:
        pieces += 1
    return WindowChunk(rows, -(-vectors // pieces))


def images_per_pass(stage: ConvolutionStage) -> int:
    """Images whose input stays in the first cache while the filters of a task go by."""
    return max(1, min(4, LEVEL_1_BYTES // (4 * stage.input.size)))


@dataclass(frozen=True)
class WinogradTile:
    """How a Winograd convolution is cut: ``rows`` of 2x2 tiles are transformed at a time; in the
    products ``tiles`` x ``vectors`` of filters stay in registers."""

    rows: int
    tiles: int
    vectors: int


WINOGRAD_BYTES = 256 * 1024  # of transformed tiles: they should stay in the second cache


def winograd_grid(stage: ConvolutionStage) -> tuple[int, int]:
    """Rows and columns of 2x2 tiles that cover all places which are convolved."""
    height, width = stage.output.height * stage.pool[0], stage.output.width * stage.pool[1]
    return -(-height // 2), -(-width // 2)


def takes_winograd(stage: ConvolutionStage) -> bool:
    """Whether a convolution is transformed."""
    window = stage.pool
    places = stage.output.height * window[0], stage.output.width * window[1]
    channels, filters = stage.input.channels, stage.output.channels
    return algorithms.takes_winograd(
        stage.kernel_size, stage.strides, window, places, channels, filters
    )


def winograd_tile(stage: ConvolutionStage, machine: Machine) -> WinogradTile:
    """Whole rows of tiles that fit the cache, and the register tile of the products."""
    rows, columns = winograd_grid(stage)
    blocks = -(-stage.output.channels // machine.lanes)
    row_bytes = 4 * 16 * columns * (stage.input.channels + blocks * machine.lanes)
    together = max(1, min(rows, WINOGRAD_BYTES // row_bytes))
    tiles = together * columns
    budget = machine.registers - 4
    choices = [
        (tile_cycles(1, count, vectors, 1, 1, tiles, blocks), -count * vectors, count, vectors)
        for vectors in (1, 2, 3, 4, 6)
        if vectors <= blocks
        for count in range(1, min(tiles, max(1, (budget - vectors) // vectors)) + 1)
    ]
    _, _, count, vectors = min(choices)
    return WinogradTile(together, count, vectors)


def winograd_scratch(stage: ConvolutionStage, machine: Machine) -> int:
    """Float32 elements that one thread needs for transformed tiles: inputs, then products."""
    _, columns = winograd_grid(stage)
    tile = winograd_tile(stage, machine)
    blocks = -(-stage.output.channels // machine.lanes)
    return 16 * tile.rows * columns * (stage.input.channels + blocks * machine.lanes)


def is_narrow(stage: ConvolutionStage) -> bool:
    """Whether the weight gradient of a first layer is computed over all places."""
    return algorithms.is_narrow(stage.taps, stage.pool)


def taps_at_once(stage: ConvolutionStage, machine: Machine) -> int:
    """Taps whose sums stay in registers in the narrow kernel."""
    pieces = -(-stage.taps // (machine.registers - 6))
    return -(-stage.taps // pieces)


def product_tile(columns: int, machine: Machine) -> MatrixTile:
    """Tile of a matrix product with ``columns`` outputs and eight images."""
    blocks = -(-columns // machine.lanes)
    wide = machine.registers >= 32
    return MatrixTile(IMAGES_PER_GROUP if wide else 4, min(blocks, 3 if wide and blocks > 2 else 2))


def weight_tile(stage: DenseStage, machine: Machine) -> MatrixTile:
    """Tile of a dense layer's weight gradient: rows are inputs."""
    blocks = -(-stage.output.channels // machine.lanes)
    vectors = min(blocks, 4 if machine.registers >= 32 else 2)
    rows = max(1, min(stage.input.channels, 6, (machine.registers - 4) // vectors))
    return MatrixTile(rows, vectors)


def split(total: int, parts: int) -> int:
    """Size of each part when ``total`` is cut into at most ``parts`` even pieces."""
    return max(1, -(-total // max(1, parts)))


def update_rows(matrix: Matrix, lanes: int, threads: int) -> int:
    """Rows of a parameter that one task updates: whole vectors of them where it is transposed."""
    rows = split(matrix.rows, 4 * threads)
    return -(-rows // lanes) * lanes if matrix.pack is not None else rows
