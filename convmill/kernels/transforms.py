"""The transforms of Winograd's minimal filtering (Lavin and Gray 2016), line by line of a tile.

F(m, r) finds m outputs of a line from m + r - 1 inputs d and r weights g, as A' [(G g) * (B' d)].
B' and the points behind it depend on the ``side`` m + r - 1 alone, which is 4, with the points 0, 1
and -1, or 6, with 2 and -2 beside them; G has as many columns as there are weights, A' as many rows
as there are outputs. F(r, m) finds the gradients of r weights from those of m outputs: these are
weighed as weights are, and what is gathered are r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from convmill.kernels import ir
from convmill.kernels.lang import Emitter, Index

Vectors = list[ir.Value]
Line = Callable[[Vectors], Vectors]


def weigh(e: Emitter, side: int, g: Vectors) -> Vectors:
    """G g for any number of values: of a point p the polynomial g0 + g1 p + g2 p^2 + ..., divided
    by what B' leaves undivided."""
    return _weigh_4(e, g) if side == 4 else _weigh_6(e, g)


def spread(e: Emitter, side: int, d: Vectors) -> Vectors:
    """B' d."""
    return _spread_4(e, d) if side == 4 else _spread_6(e, d)


def gather(e: Emitter, side: int, count: int, m: Vectors) -> Vectors:
    """The first ``count`` rows of A' m: in row i of a point p its power p^i."""
    return _gather_4(e, count, m) if side == 4 else _gather_6(e, count, m)


def _weigh_4(e: Emitter, g: Vectors) -> Vectors:
    """Three values: (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)."""
    b, half = e.builder, e.constant(0.5)
    even = g[0] if len(g) == 2 else b.fadd(g[0], g[2])
    return [g[0], b.fmul(half, b.fadd(even, g[1])), b.fmul(half, b.fsub(even, g[1])), g[-1]]


def _spread_4(e: Emitter, d: Vectors) -> Vectors:
    """(d0 - d2, d1 + d2, d2 - d1, d1 - d3)."""
    b = e.builder
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _gather_4(e: Emitter, count: int, m: Vectors) -> Vectors:
    """Two rows: (m0 + m1 + m2, m1 - m2 - m3)."""
    b = e.builder
    even, odd = b.fadd(m[1], m[2]), b.fsub(m[1], m[2])
    rows = [odd if i % 2 else even for i in range(count)]
    return [b.fadd(m[0], even), *rows[1:-1], b.fsub(rows[-1], m[3])]


def _weigh_6(e: Emitter, g: Vectors) -> Vectors:
    """Three values: (g0 / 4, -(g0 + g2 +- g1) / 6, g0 / 24 + g2 / 6 +- g1 / 12, g2)."""
    c, even, odd = e.constant, g[::2], g[1::2]
    near = e.builder.fmul(c(-1 / 6), _sum(e, 1, even))
    far = e.builder.fmul(c(1 / 24), _sum(e, 4, even))
    near_odd, far_odd = _sum(e, 1, odd), _sum(e, 4, odd)
    return [
        e.builder.fmul(c(1 / 4), g[0]),
        e.fma(c(-1 / 6), near_odd, near),
        e.fma(c(1 / 6), near_odd, near),
        e.fma(c(1 / 12), far_odd, far),
        e.fma(c(-1 / 12), far_odd, far),
        g[-1],
    ]


def _sum(e: Emitter, factor: int, values: Vectors) -> ir.Value:
    """v0 + factor v1 + factor^2 v2 + ..."""
    if factor == 1:
        return reduce(e.builder.fadd, values)
    total = values[0]
    for power, one in enumerate(values[1:], start=1):
        total = e.fma(e.constant(factor**power), one, total)
    return total


def _spread_6(e: Emitter, d: Vectors) -> Vectors:
    """(4 d0 - 5 d2 + d4, d4 - 4 d2 +- (d3 - 4 d1), d4 - d2 +- 2 (d3 - d1), 4 d1 - 5 d3 + d5)."""
    b, c = e.builder, e.constant
    near, near_odd = e.fma(c(-4), d[2], d[4]), e.fma(c(-4), d[1], d[3])
    far, far_odd = b.fsub(d[4], d[2]), b.fsub(d[3], d[1])
    return [
        e.fma(c(-5), d[2], e.fma(c(4), d[0], d[4])),
        b.fadd(near, near_odd),
        b.fsub(near, near_odd),
        e.fma(c(2), far_odd, far),
        e.fma(c(-2), far_odd, far),
        e.fma(c(-5), d[3], e.fma(c(4), d[1], d[5])),
    ]


def _gather_6(e: Emitter, count: int, m: Vectors) -> Vectors:
    """Four rows, with s = m1 + m2, t = m3 + m4, u = m1 - m2, v = m3 - m4: (m0 + s + t, u + 2 v,
    s + 4 t, u + 8 v + m5)."""
    b = e.builder
    s, t = b.fadd(m[1], m[2]), b.fadd(m[3], m[4])
    u, v = b.fsub(m[1], m[2]), b.fsub(m[3], m[4])
    rows = [
        e.fma(e.constant(2**i), v, u) if i % 2 else e.fma(e.constant(2**i), t, s)
        for i in range(1, count)
    ]
    return [b.fadd(m[0], b.fadd(s, t)), *rows[:-1], b.fadd(m[5], rows[-1])]


def square(line: Line, values: list[Vectors]) -> list[Vectors]:
    """A transform of all columns of a square, and then of all rows."""
    columns = [line(list(column)) for column in zip(*values, strict=True)]
    return [line(list(row)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Strip:
    """Rows of inputs that a row of tiles reads: ``columns`` of ``channels``, the first of them at
    ``x``, one row ``row`` floats behind the other; and ``room`` for what is between the two passes
    of a transform, ``side`` x ``columns`` vectors."""

    x: ir.Value
    row: int
    channels: int
    columns: int
    room: ir.Value


def strip_room(side: int, columns: int, lanes: int) -> int:
    """Float32 elements of a strip's room."""
    return side * columns * lanes


def spread_strip(
    k: Emitter,
    side: int,
    strip: Strip,
    tiles: tuple[Index, Callable[[Index], Index]],
    target: ir.Value,
    step: int,
) -> None:
    """B' d B of a row of tiles, so many, of which the n-th begins at that column: tiles x channels
    for each point, points ``step`` apart. Down each column once, though tiles share it, and then
    along the rows: so few values at a time that they stay in registers."""
    wide, channels = strip.columns * k.lanes, strip.channels
    many, first = tiles

    def both_passes(channel: Index, count: int) -> None:
        with k.loop(0, strip.columns) as column:
            top = k.at(strip.x, k.add(channel, k.mul(column, channels)))
            down = spread(k, side, [k.load(top, i * strip.row, count) for i in range(side)])
            for i, one in enumerate(down):
                k.store(one, strip.room, k.add(k.mul(column, k.lanes), i * wide))
        with k.loop(0, many) as tile:
            begin = k.mul(first(tile), k.lanes)
            into = k.add(channel, k.mul(tile, channels))
            with k.loop(0, side) as line:
                left = k.at(strip.room, k.add(begin, k.mul(line, wide)))
                along = spread(k, side, [k.load(left, j * k.lanes) for j in range(side)])
                goal = k.at(target, k.add(into, k.mul(line, side * step)))
                for j, one in enumerate(along):
                    k.store(one, goal, j * step, count)

    k.vectors(channels, both_passes)
