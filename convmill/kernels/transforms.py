"""The transforms of Winograd's minimal filtering (Lavin and Gray 2016), line by line of a tile.

F(m, 3) finds m outputs of a line from m + 2 inputs d and three weights g, as A' [(G g) * (B' d)].
F(3, m), through the same points, finds the gradients of the three weights from m gradients of
outputs: they are weighed as g is there, and what is gathered are three.
"""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.lang import Emitter, Index

Vectors = list[ir.Value]
Line = Callable[[Emitter, Vectors], Vectors]

# F(m, 3): weights, inputs and outputs ------------------------------------------------------------


def _weigh_2(e: Emitter, g: Vectors) -> Vectors:
    """G g for m = 2: (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)."""
    b, half = e.builder, e.constant(0.5)
    outer = b.fadd(g[0], g[2])
    plus, minus = b.fadd(outer, g[1]), b.fsub(outer, g[1])
    return [g[0], b.fmul(half, plus), b.fmul(half, minus), g[2]]


def _spread_2(e: Emitter, d: Vectors) -> Vectors:
    """B' d for m = 2: (d0 - d2, d1 + d2, d2 - d1, d1 - d3)."""
    b = e.builder
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _gather_2(e: Emitter, m: Vectors) -> Vectors:
    """A' m for m = 2: (m0 + m1 + m2, m1 - m2 - m3)."""
    b = e.builder
    return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def _weigh_4(e: Emitter, g: Vectors) -> Vectors:
    """G g for m = 4: (g0 / 4, -(g0 + g2 +- g1) / 6, g0 / 24 + g2 / 6 +- g1 / 12, g2)."""
    b, c = e.builder, e.constant
    near = b.fmul(c(-1 / 6), b.fadd(g[0], g[2]))
    far = e.fma(c(1 / 6), g[2], b.fmul(c(1 / 24), g[0]))
    return [
        b.fmul(c(1 / 4), g[0]),
        e.fma(c(-1 / 6), g[1], near),
        e.fma(c(1 / 6), g[1], near),
        e.fma(c(1 / 12), g[1], far),
        e.fma(c(-1 / 12), g[1], far),
        g[2],
    ]


def _spread_4(e: Emitter, d: Vectors) -> Vectors:
    """B' d for m = 4: (4 d0 - 5 d2 + d4, d4 - 4 d2 +- (d3 - 4 d1), d4 - d2 +- 2 (d3 - d1),
    4 d1 - 5 d3 + d5)."""
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


def _sums_and_differences(e: Emitter, m: Vectors) -> Vectors:
    """m1 + m2, m3 + m4, m1 - m2, m3 - m4."""
    b = e.builder
    pairs = ((m[1], m[2]), (m[3], m[4]))
    return [b.fadd(*pair) for pair in pairs] + [b.fsub(*pair) for pair in pairs]


def _gather_4(e: Emitter, m: Vectors) -> Vectors:
    """A' m for m = 4, with s = m1 + m2, t = m3 + m4, u = m1 - m2, v = m3 - m4: (m0 + s + t,
    u + 2 v, s + 4 t, u + 8 v + m5)."""
    b, c = e.builder, e.constant
    s, t, u, v = _sums_and_differences(e, m)
    return [
        b.fadd(m[0], b.fadd(s, t)),
        e.fma(c(2), v, u),
        e.fma(c(4), t, s),
        b.fadd(m[5], e.fma(c(8), v, u)),
    ]


# F(3, m): gradients of outputs, and of weights ---------------------------------------------------


def _weigh_gradients_2(e: Emitter, d: Vectors) -> Vectors:
    """(d0, (d0 + d1) / 2, (d0 - d1) / 2, d1)."""
    b, half = e.builder, e.constant(0.5)
    plus, minus = b.fadd(d[0], d[1]), b.fsub(d[0], d[1])
    return [d[0], b.fmul(half, plus), b.fmul(half, minus), d[1]]


def _gather_weights_2(e: Emitter, m: Vectors) -> Vectors:
    """(m0 + m1 + m2, m1 - m2, m1 + m2 - m3)."""
    b = e.builder
    both = b.fadd(m[1], m[2])
    return [b.fadd(m[0], both), b.fsub(m[1], m[2]), b.fsub(both, m[3])]


def _weigh_gradients_4(e: Emitter, d: Vectors) -> Vectors:
    """(d0 / 4, -(d0 + d2 +- (d1 + d3)) / 6, d0 / 24 + d2 / 6 +- (d1 / 12 + d3 / 3), d3)."""
    b, c = e.builder, e.constant
    near, near_odd = (b.fmul(c(-1 / 6), b.fadd(d[i], d[i + 2])) for i in (0, 1))
    far = e.fma(c(1 / 6), d[2], b.fmul(c(1 / 24), d[0]))
    far_odd = e.fma(c(1 / 3), d[3], b.fmul(c(1 / 12), d[1]))
    return [
        b.fmul(c(1 / 4), d[0]),
        b.fadd(near, near_odd),
        b.fsub(near, near_odd),
        b.fadd(far, far_odd),
        b.fsub(far, far_odd),
        d[3],
    ]


def _gather_weights_4(e: Emitter, m: Vectors) -> Vectors:
    """With s, t, u, v as above: (m0 + s + t, u + 2 v, s + 4 t + m5)."""
    b, c = e.builder, e.constant
    s, t, u, v = _sums_and_differences(e, m)
    return [
        b.fadd(m[0], b.fadd(s, t)),
        e.fma(c(2), v, u),
        b.fadd(m[5], e.fma(c(4), t, s)),
    ]


# By m.
WEIGH: dict[int, Line] = {2: _weigh_2, 4: _weigh_4}
SPREAD: dict[int, Line] = {2: _spread_2, 4: _spread_4}
GATHER: dict[int, Line] = {2: _gather_2, 4: _gather_4}
WEIGH_GRADIENTS: dict[int, Line] = {2: _weigh_gradients_2, 4: _weigh_gradients_4}
GATHER_WEIGHTS: dict[int, Line] = {2: _gather_weights_2, 4: _gather_weights_4}


def square(e: Emitter, line: Line, values: list[Vectors]) -> list[Vectors]:
    """A transform of all columns of a square, and then of all rows."""
    columns = [line(e, list(column)) for column in zip(*values, strict=True)]
    return [line(e, list(row)) for row in zip(*columns, strict=True)]


def spread_tile(
    k: Emitter,
    outputs: int,
    source: tuple[ir.Value, Index, int, int],
    target: ir.Value,
    step: Index,
) -> None:
    """B' d B of one tile of inputs, for all channels: ``source`` is an address, where the tile
    begins behind it, how far its rows are apart, and its channels; points go ``step`` apart."""
    x, corner, row, channels = source
    side = outputs + 2

    def spread(channel: Index, count: int) -> None:
        base = k.at(x, k.add(corner, channel))
        d = [
            [k.load(base, i * row + j * channels, count) for j in range(side)] for i in range(side)
        ]
        points = (one for line in square(k, SPREAD[outputs], d) for one in line)
        for number, one in enumerate(points):
            k.store(one, target, k.add(channel, k.mul(step, number)), count)

    k.vectors(channels, spread)
