"""The transforms of Winograd's minimal filtering (Lavin and Gray 2016), line by line of a tile.

F(m, r) finds m outputs of a line from m + r - 1 inputs d and r weights g, as A' [(G g) * (B' d)].
Its points are 0, some p with their -p, and infinity. B' and the points behind it depend on the
``side`` m + r - 1 alone; G has as many columns as there are weights, A' as many rows as there are
outputs. F(r, m) finds the gradients of r weights from those of m outputs: these are weighed as
weights are, and what is gathered are r.

With M the product of (x^2 - p^2) over all p, and M_p of those but p itself, B' holds what d is
multiplied by where x^i stands for d_i: M for the point 0, x^2 M_p +- p x M_p for p and -p, x M for
infinity. G divides by what that leaves undivided: M(0), and 2 p^2 M_p(p) (Toom 1963, Cook 1966).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from convmill.kernels import ir
from convmill.kernels.lang import Emitter, Index

Vectors = list[ir.Value]
Line = Callable[[Vectors], Vectors]
# Each p of a side. With more of them products are fewer and errors larger: of sums over 32 channels
# (by norm, against float64) about 1e-6 with 6 points and 2e-6 with 8.
POINTS = {4: (1.0,), 6: (1.0, 2.0), 8: (1.0, 2.0, 0.5)}


def weigh(e: Emitter, side: int, g: Vectors) -> Vectors:
    """G g for any number of values: of a point p the polynomial g0 + g1 p + g2 p^2 + ..., divided
    by what B' leaves undivided."""
    rows = [_scaled(e, 1 / _product(side)[0], g[0])]
    for p in POINTS[side]:
        others = _product(side, but=p)
        left = 2 * p**2 * sum(factor * p ** (2 * i) for i, factor in enumerate(others))
        powers = [p ** (2 * i) for i in range(len(g))]
        even, odd = _scaled(e, 1 / left, _sum(e, powers, g[::2])), _sum(e, powers, g[1::2])
        rows += [_plus(e, even, p / left, odd), _plus(e, even, -p / left, odd)]
    return [*rows, g[-1]]


def spread(e: Emitter, side: int, d: Vectors) -> Vectors:
    """B' d."""
    rows = [_sum_of_monic(e, _product(side), d[:-1:2])]
    for p in POINTS[side]:
        others = _product(side, but=p)
        even, odd = _sum_of_monic(e, others, d[2::2]), _sum_of_monic(e, others, d[1:-1:2])
        rows += [_plus(e, even, p, odd), _plus(e, even, -p, odd)]
    return [*rows, _sum_of_monic(e, _product(side), d[1::2])]


def gather(e: Emitter, side: int, count: int, m: Vectors) -> Vectors:
    """The first ``count`` rows of A' m: in row i of a point p its power p^i."""
    pairs = list(zip(m[1:-1:2], m[2:-1:2], strict=True))  # of p and of -p
    sums = [e.builder.fadd(one, other) for one, other in pairs]
    differences = [e.builder.fsub(one, other) for one, other in pairs]
    rows = [
        _sum(e, [p**i for p in POINTS[side]], differences if i % 2 else sums) for i in range(count)
    ]
    return [e.builder.fadd(m[0], rows[0]), *rows[1:-1], e.builder.fadd(m[-1], rows[-1])]


@cache
def _product(side: int, but: float | None = None) -> tuple[float, ...]:
    """The product of (x^2 - p^2) over the points but one: its factors of 1, x^2, x^4 ..., which
    doubles hold exactly."""
    found = [1.0]
    for p in POINTS[side]:
        if p != but:
            found = [a - p**2 * b for a, b in zip([0.0, *found], [*found, 0.0], strict=True)]
    return tuple(found)


def _sum_of_monic(e: Emitter, factors: Sequence[float], values: Vectors) -> ir.Value:
    """The sum of the products, begun with the last, whose factor is 1."""
    *others, _ = factors
    return _sum(e, [1.0, *others], [values[len(others)], *values])


def _sum(e: Emitter, factors: Sequence[float], values: Vectors) -> ir.Value:
    """The sum of the products, of which the first factor is 1."""
    total = values[0]
    for factor, value in zip(factors[1:], values[1:], strict=False):
        total = _plus(e, total, factor, value)
    return total


def _plus(e: Emitter, total: ir.Value, factor: float, value: ir.Value) -> ir.Value:
    """total + factor x value."""
    if abs(factor) == 1:
        return e.builder.fadd(total, value) if factor > 0 else e.builder.fsub(total, value)
    return e.fma(e.factor(factor), value, total)


def _scaled(e: Emitter, factor: float, value: ir.Value) -> ir.Value:
    return value if factor == 1 else e.builder.fmul(e.factor(factor), value)


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
