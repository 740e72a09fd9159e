"""Losses that compare all values along the last axis: cosine similarity and categorical hinge."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.case import Case, label, only
from convmill.kernels.lang import F32, I32, Index
from convmill.kernels.terms import above


def cosine(case: Case) -> ir.Value:
    """-sum of x y, each divided by its norm (times the least of 1 / norm and 1 / epsilon)."""
    e, b, classes, goal = case.e, case.e.builder, case.classes, case.goal
    sums = [e.variable(e.constant(0.0)) for _ in range(3)]

    def add(at: Index, count: int) -> None:
        x, y = e.load(case.outputs, at, count), only(e, label(case, at, count), count)
        for total, (one, other) in zip(sums, ((x, x), (y, y), (x, y)), strict=True):
            e.set(total, e.fma(one, other, e.get(total)))

    e.vectors(classes, add)
    xx, yy, xy = (e.broadcast(e.reduce("fadd", e.get(total))) for total in sums)
    most = e.constant(1 / case.spec.epsilon)
    by_x, by_y = (b.fdiv(e.constant(1.0), e.intrinsic("sqrt", one)) for one in (xx, yy))
    free = b.fcmp_ordered("<", by_x, most)  # else the norm of x counts for nothing
    by_x, by_y = (b.select(b.fcmp_unordered("<", one, most), one, most) for one in (by_x, by_y))
    cosine_ = b.fmul(b.fmul(xy, by_x), by_y)
    if goal is not None:
        turn = b.select(free, b.fmul(cosine_, b.fmul(by_x, by_x)), e.constant(0.0))

        def derive(at: Index, count: int) -> None:
            x, y = e.load(case.outputs, at, count), label(case, at, count)
            slope = b.fsub(b.fmul(turn, x), b.fmul(b.fmul(by_x, by_y), y))
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return b.fneg(b.extract_element(cosine_, ir.Constant(I32, 0)))


def categorical_hinge(case: Case) -> ir.Value:
    """1 + max((1 - y) x) - sum x y, where that is above zero; maxima that are equal share."""
    e, b, classes, goal = case.e, case.e.builder, case.classes, case.goal
    one, low = e.constant(1.0), e.constant(float("-inf"))
    highest, right = e.variable(low), e.variable(e.constant(0.0))

    def at_place(at: Index, count: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        x, y = e.load(case.outputs, at, count), label(case, at, count)
        return y, b.fmul(x, y), b.fmul(b.fsub(one, y), x)

    def find(at: Index, count: int) -> None:
        _, near, away = at_place(at, count)
        if count < e.lanes:
            away = b.select(e.mask(count), away, low)
        found = b.fcmp_unordered(">", away, e.get(highest))
        e.set(highest, b.select(found, away, e.get(highest)))
        e.set(right, b.fadd(e.get(right), only(e, near, count)))

    e.vectors(classes, find)
    top = e.reduce("fmax", e.get(highest))
    total = b.fsub(b.fadd(top, ir.Constant(F32, 1.0)), e.reduce("fadd", e.get(right)))
    loss_, open_ = above(e, e.broadcast(total), 0.0)
    if goal is not None:
        every = e.broadcast(top)
        ties = e.variable(e.constant(0.0))

        def count_ties(at: Index, count: int) -> None:
            same = b.fcmp_ordered("==", at_place(at, count)[2], every)
            same = only(e, b.select(same, one, e.constant(0.0)), count)
            e.set(ties, b.fadd(e.get(ties), same))

        e.vectors(classes, count_ties)
        share = b.fdiv(one, e.broadcast(e.reduce("fadd", e.get(ties))))

        def derive(at: Index, count: int) -> None:
            y, _, away = at_place(at, count)
            at_top = b.select(b.fcmp_ordered("==", away, every), share, e.constant(0.0))
            slope = b.fmul(open_, b.fsub(b.fmul(at_top, b.fsub(one, y)), y))
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return b.extract_element(loss_, ir.Constant(I32, 0))
