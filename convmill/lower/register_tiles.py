"""Register tiles that take fewest cycles by a simple model of the processor."""

from __future__ import annotations

from functools import lru_cache

from convmill.lower.choices import MatrixTile
from convmill.lower.machine import Machine

SPARE_REGISTERS = 4  # beside the sums: what is loaded, and what the compiler wants


@lru_cache(maxsize=65536)
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


@lru_cache(maxsize=4096)  # a net's blocks are alike, and so are nets
def sums_tile(rows: int, columns: int, machine: Machine) -> MatrixTile:
    """Tile of sums for so many ``rows`` times ``columns``, the latter in the lanes. Of those that
    take as long one that leaves no rows: it is half of the code."""
    blocks = -(-columns // machine.lanes)
    budget = machine.registers - SPARE_REGISTERS
    choices = [
        (
            tile_cycles(1, count, vectors, 1, 1, rows, blocks),
            rows % count > 0,
            -count * vectors,
            count,
            vectors,
        )
        for vectors in (1, 2, 3, 4, 6)
        if vectors <= blocks
        for count in range(1, min(rows, max(1, (budget - vectors) // vectors)) + 1)
    ]
    *_, count, vectors = min(choices)
    return MatrixTile(count, vectors)


def evenly(total: int, most: int) -> int:
    """The size of pieces of at most ``most`` that are about alike."""
    return -(-total // -(-total // most))
