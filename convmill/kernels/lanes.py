"""Vectors whose lanes are moved about: squares that are turned, things beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from convmill.kernels import ir
from convmill.kernels.lang import F32, Emitter, Index
from convmill.lower.lines import FLOAT_BYTES


def transpose(e: Emitter, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """A square of as many vectors as lanes, transposed by log2(lanes) rounds of shuffles."""
    rows, half, lanes = list(rows), 1, range(e.lanes)
    while half < e.lanes:
        picked = list(rows)
        low = [n if not n & half else e.lanes + (n ^ half) for n in lanes]
        high = [n ^ half if not n & half else e.lanes + n for n in lanes]
        for i in (i for i in lanes if not i & half):
            a, b = rows[i], rows[i | half]
            picked[i], picked[i | half] = _shuffled(e, a, b, low), _shuffled(e, a, b, high)
        rows, half = picked, half * 2
    return rows


def load_repeated(
    e: Emitter, pointer: ir.Value, offset: Index, count: int, zeros: int = 0
) -> ir.Value:
    """So many float32, again and again over the lanes, with zeros in the place of the first."""
    if count == 1:
        return e.broadcast(e.load_scalar(pointer, offset))
    few = ir.VectorType(F32, count)
    found = e.builder.load(e.at(pointer, offset), typ=few, align=FLOAT_BYTES)
    order = [lane % count + count * (lane % count < zeros) for lane in range(e.lanes)]
    return _shuffled(e, found, ir.Constant(few, [0.0] * count), order)


def repeat(e: Emitter, vector: ir.Value, count: int) -> ir.Value:
    """Each of the first lanes so many times, one beside the other."""
    if count == 1:
        return vector
    return _shuffled(e, vector, vector, [lane // count for lane in range(e.lanes)])


def interleave(e: Emitter, vectors: Sequence[ir.Value]) -> ir.Value:
    """The first lane of each of the vectors (2, 4, 8 ...), then the second of each, and so on as
    far as there are lanes."""
    order = [lane // 2 + lane % 2 * e.lanes for lane in range(e.lanes)]
    while len(vectors) > 1:
        half = len(vectors) // 2
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        vectors = [_shuffled(e, a, b, order) for a, b in pairs]
    return vectors[0]


def add_neighbours(e: Emitter, vector: ir.Value, count: int) -> ir.Value:
    """Sums of so many (1, 2, 4 ...) lanes beside each other, in the first lanes."""
    while count > 1:
        even, odd = (
            _shuffled(e, vector, vector, [(2 * i + first) % e.lanes for i in range(e.lanes)])
            for first in (0, 1)
        )
        vector, count = e.builder.fadd(even, odd), count // 2
    return vector


def _shuffled(e: Emitter, a: ir.Value, b: ir.Value, order: Sequence[int]) -> ir.Value:
    """Lanes of two vectors by their numbers; those of b are behind those of a."""
    return e.builder.shuffle_vector(a, b, ir.Constant(e.integers, list(order)))
