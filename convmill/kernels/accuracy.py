"""Whether a place counts as right, in the ways in which Keras counts accuracy."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.case import Case, only
from convmill.kernels.lang import F32, I32, I64, Emitter, Index
from convmill.plan.recipe import Accuracy


def right(case: Case, kind: Accuracy) -> ir.Value:
    """1.0 where the place counts as right, else 0.0; for binary accuracy how many outputs do."""
    return ACCURACIES[kind](case)


def binary(case: Case) -> ir.Value:
    """How many outputs lie on their label's side of one half."""
    e, b, one = case.e, case.e.builder, case.e.constant(1.0)
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        high = b.fcmp_ordered(">", e.load(case.outputs, at, count), e.constant(0.5))
        side = b.select(high, one, e.constant(0.0))
        same = b.fcmp_ordered("==", side, e.load(case.labels, at, count))
        same = b.select(same, one, e.constant(0.0))
        e.set(total, b.fadd(e.get(total), only(e, same, count)))

    e.vectors(case.length, add)
    return e.reduce("fadd", e.get(total))


def categorical(case: Case) -> ir.Value:
    """Whether outputs and labels have their first maximum at the same place."""
    e = case.e
    guess, truth = (_first_maximum(e, each, case.classes) for each in (case.outputs, case.labels))
    return e.builder.uitofp(e.builder.icmp_signed("==", guess, truth), F32)


def sparse(case: Case) -> ir.Value:
    """Whether the outputs' first maximum is at the place that the label names."""
    e, b = case.e, case.e.builder
    guess = _first_maximum(e, case.outputs, case.classes)
    truth = b.sext(e.load_scalar(case.labels, 0, I32), I64)
    return b.uitofp(b.icmp_signed("==", guess, truth), F32)


def _first_maximum(e: Emitter, values: ir.Value, size: int) -> ir.Value:
    """Index of the first of ``size`` values that reaches the maximum; what is no number is one."""
    b = e.builder
    best = e.variable(e.load_scalar(values, 0))
    place = e.variable(ir.Constant(I64, 0))
    with e.loop(1, size) as k:
        one = e.load_scalar(values, k)
        larger = b.fcmp_unordered(">", one, e.get(best))
        larger = b.and_(larger, b.fcmp_ordered("==", e.get(best), e.get(best)))
        e.set(best, b.select(larger, one, e.get(best)))
        e.set(place, b.select(larger, e.index(k), e.get(place)))
    return e.get(place)


ACCURACIES = {"binary": binary, "categorical": categorical, "sparse": sparse}
