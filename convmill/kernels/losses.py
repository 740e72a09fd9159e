"""The losses of one place, with their gradients.

A place is what lies along the last axis of a net's output: ``classes`` neighbours in memory. Labels
are float32, one for each output, or one int32 class index (sparse). Formulas are Keras', its
clipping of probabilities included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels.activation import softmax
from convmill.kernels.lang import F32, I32, Emitter, Index
from convmill.kernels.math import log
from convmill.kernels.terms import TERMS, Term, clip
from convmill.plan.recipe import Loss, LossName


@dataclass(frozen=True)
class Case:
    """One place's loss being written: ``spec`` on ``classes`` outputs; labels lie at ``labels``;
    ``factor`` scales the gradient, which goes to ``goal`` where it is wanted; ``room`` holds what
    ``scratch`` asks for. A loss that goes value by value may take several places together, which
    have ``length`` outputs."""

    e: Emitter
    spec: Loss
    classes: int
    length: int
    outputs: ir.Value
    labels: ir.Value
    factor: ir.Value
    goal: ir.Value | None
    past_softmax: bool
    room: ir.Value


def scratch(spec: Loss, classes: int) -> int:
    """Float32 elements that the loss of one place wants beside its arrays: the softmax of logits.
    They may be too many for the stack."""
    return classes if spec.from_logits and spec.name in LOSSES else 0


def _label(case: Case, at: Index, count: int) -> ir.Value:
    """Labels of a vector of classes, smoothed."""
    e, b, spec, labels = case.e, case.e.builder, case.spec, case.labels
    if spec.sparse:
        steps = ir.Constant(e.integers, list(range(e.lanes)))
        number = b.add(e.broadcast(b.trunc(e.index(at), I32)), steps)
        same = b.icmp_signed("==", number, e.broadcast(e.load_scalar(labels, 0, I32)))
        return b.select(same, e.constant(1.0), e.constant(0.0))
    y = e.load(labels, at, count)
    if spec.label_smoothing:
        middle = 0.5 if spec.name.startswith("binary") else 1 / case.classes
        y = e.fma(
            y, e.constant(1 - spec.label_smoothing), e.constant(spec.label_smoothing * middle)
        )
    return y


def only(e: Emitter, term: ir.Value, count: int) -> ir.Value:
    """Zero the lanes that hold no class."""
    if count == e.lanes:
        return term
    return e.builder.select(e.mask(count), term, e.constant(0.0))


def _logits(case: Case) -> ir.Value:
    """loss = -sum y log softmax(z); gradient = softmax(z) sum y - y."""
    e, b, classes, logits, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    shares = case.room
    top, whole = softmax(e, logits, shares, classes)
    high = e.broadcast(b.fadd(top, _scalar(e, log, whole)))
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        y = only(e, _label(case, at, count), count)
        term = only(e, b.fmul(y, b.fsub(high, e.load(logits, at, count))), count)
        e.set(total, b.fadd(e.get(total), term))
        e.set(mass, b.fadd(e.get(mass), y))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mass)))

        def derive(at: Index, count: int) -> None:
            y = _label(case, at, count)
            slope = b.fsub(b.fmul(e.load(shares, at, count), every), y)
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def _probabilities(case: Case) -> ir.Value:
    """With q = p / sum p, clipped to c: loss = -sum y log c.

    Let u be y where q was not clipped, else 0. The gradient by q is -u / q, by p that divided by
    sum p after taking away its mean over q, and by logits behind softmax q sum u - u.
    """
    e, b, classes, outputs, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    sum_ = e.variable(e.constant(0.0))
    e.vectors(
        classes,
        lambda at, count: e.set(sum_, b.fadd(e.get(sum_), e.load(outputs, at, count))),
    )
    share = e.broadcast(b.fdiv(ir.Constant(F32, 1.0), e.reduce("fadd", e.get(sum_))))
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def at_place(at: Index, count: int) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
        q = b.fmul(e.load(outputs, at, count), share)
        y = only(e, _label(case, at, count), count)
        clipped, open_ = clip(e, q, case.spec.epsilon, 1 - case.spec.epsilon)
        return q, y, clipped, b.fmul(y, open_)

    def add(at: Index, count: int) -> None:
        _, y, clipped, u = at_place(at, count)
        e.set(total, b.fsub(e.get(total), b.fmul(y, log(e, clipped))))
        e.set(mass, b.fadd(e.get(mass), u))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mass)))

        def derive(at: Index, count: int) -> None:
            q, _, clipped, u = at_place(at, count)
            if case.past_softmax:
                slope = b.fsub(b.fmul(q, every), u)
            else:  # u is zero where q and its clipped value differ
                slope = b.fmul(b.fsub(every, b.fdiv(u, clipped)), share)
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def elementwise(case: Case, term: Term) -> ir.Value:
    """Mean over the last axis of a term of each output, added up over the case's places."""
    e, b, goal = case.e, case.e.builder, case.goal
    mean = e.constant(1 / case.classes)
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        loss, slope = term(e, case.spec, e.load(case.outputs, at, count), _label(case, at, count))
        e.set(total, b.fadd(e.get(total), only(e, loss, count)))
        if goal is not None:
            e.store(b.fmul(b.fmul(slope, mean), case.factor), goal, at, count)

    e.vectors(case.length, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, 1 / case.classes))


def _scalar(e: Emitter, function, one: ir.Value) -> ir.Value:  # type: ignore[no-untyped-def]
    """A vector function of one scalar."""
    return e.builder.extract_element(function(e, e.broadcast(one)), ir.Constant(I32, 0))


def categorical(case: Case) -> ir.Value:
    """Cross-entropy of logits or of probabilities."""
    return _logits(case) if case.spec.from_logits else _probabilities(case)


def loss(case: Case) -> ir.Value:
    """The loss of a place; its gradient is stored where that is wanted."""
    term = TERMS.get(case.spec.name)
    return LOSSES[case.spec.name](case) if term is None else elementwise(case, term)


# Those that look at all values along the last axis; ``terms.py`` has those that go value by value.
LOSSES: dict[LossName, Callable[[Case], ir.Value]] = {
    "categorical_crossentropy": categorical,
    "sparse_categorical_crossentropy": categorical,
}
