"""Cross-entropies along the last axis, of logits or of probabilities: their value and gradient.

Formulas are Keras', its clipping of probabilities included.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.activation import softmax
from convmill.kernels.case import Case, label, only
from convmill.kernels.lang import I32, Emitter, Index
from convmill.kernels.math import log, power
from convmill.kernels.terms import clip


def categorical(case: Case) -> ir.Value:
    """Cross-entropy of logits or of probabilities."""
    return _logits(case) if case.spec.from_logits else _probabilities(case)


def _logits(case: Case) -> ir.Value:
    """loss = -sum y log softmax(z); gradient = softmax(z) sum y - y."""
    e, b, classes, logits, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    shares = case.room
    top, whole = softmax(e, logits, shares, classes)
    # not added to one another: beside a large top the logarithm could vanish
    high, away = e.broadcast(top), e.broadcast(_scalar(e, log, whole))
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        y = only(e, label(case, at, count), count)
        far = b.fadd(b.fsub(high, e.load(logits, at, count)), away)
        term = only(e, b.fmul(y, far), count)
        e.set(total, b.fadd(e.get(total), term))
        e.set(mass, b.fadd(e.get(mass), y))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mass)))

        def derive(at: Index, count: int) -> None:
            y = label(case, at, count)
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
    whole = _whole(e, outputs, classes)
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def at_place(at: Index, count: int) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
        q = b.fdiv(e.load(outputs, at, count), whole)
        y = only(e, label(case, at, count), count)
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
                slope = b.fdiv(b.fsub(every, b.fdiv(u, clipped)), whole)
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def focal(case: Case) -> ir.Value:
    """With q = p / sum p, or the softmax of logits, clipped to c:
    loss = -sum alpha (1 - c)^gamma y log c.

    Let s be its slopes by q. The gradient by logits is q (s - sum s q), by p (s - sum s q) / sum p.
    """
    e, b, spec, classes, goal = case.e, case.e.builder, case.spec, case.classes, case.goal
    if spec.from_logits:
        softmax(e, case.outputs, case.room, classes)
    outputs = case.room if spec.from_logits else case.outputs
    whole = _whole(e, outputs, classes)
    total, mean = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def at_place(at: Index, count: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        q = b.fdiv(e.load(outputs, at, count), whole)
        c, open_ = clip(e, q, spec.epsilon, 1 - spec.epsilon)
        y = b.fmul(_alpha(case, at, count), only(e, label(case, at, count), count))
        rest, high = b.fsub(e.constant(1.0), c), log(e, c)
        focus = power(e, rest, spec.gamma)
        turn = b.fmul(e.constant(spec.gamma), power(e, rest, spec.gamma - 1))
        slope = b.fsub(b.fmul(turn, high), b.fdiv(focus, c))
        return q, b.fneg(b.fmul(b.fmul(focus, y), high)), b.fmul(b.fmul(open_, y), slope)

    def add(at: Index, count: int) -> None:
        q, term, slope = at_place(at, count)
        e.set(total, b.fadd(e.get(total), only(e, term, count)))
        e.set(mean, b.fadd(e.get(mean), only(e, b.fmul(slope, q), count)))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mean)))

        def derive(at: Index, count: int) -> None:
            q, _, slope = at_place(at, count)
            by_logit = spec.from_logits or case.past_softmax
            slope = b.fsub(slope, every)
            slope = b.fmul(slope, q) if by_logit else b.fdiv(slope, whole)
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def _alpha(case: Case, at: Index, count: int) -> ir.Value:
    """The weights of a vector of classes."""
    e, alpha = case.e, case.spec.alpha
    if len(alpha) == 1:
        return e.constant(alpha[0])
    return e.load(e.table(alpha), at, count)


def _whole(e: Emitter, outputs: ir.Value, classes: int) -> ir.Value:
    """The sum of the outputs, in every lane."""
    b, total = e.builder, e.variable(e.constant(0.0))
    e.vectors(
        classes,
        lambda at, count: e.set(total, b.fadd(e.get(total), e.load(outputs, at, count))),
    )
    return e.broadcast(e.reduce("fadd", e.get(total)))


def _scalar(e: Emitter, function, one: ir.Value) -> ir.Value:  # type: ignore[no-untyped-def]
    """A vector function of one scalar."""
    return e.builder.extract_element(function(e, e.broadcast(one)), ir.Constant(I32, 0))
