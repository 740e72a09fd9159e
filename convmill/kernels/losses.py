"""The losses of one image, with their gradients.

The output of an image is ``classes`` neighbours in memory. Labels are float32, one for each output,
or one int32 class index (sparse). Formulas are Keras', its clipping of probabilities included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels.activation import softmax
from convmill.kernels.lang import F32, I32, Emitter, Index
from convmill.kernels.math import exp, log, sigmoid
from convmill.plan.recipe import EPSILON, Loss, LossName


@dataclass(frozen=True)
class Case:
    """One image's loss being written: ``spec`` on ``classes`` outputs; labels lie at ``labels``;
    ``factor`` scales the gradient, which goes to ``goal`` where it is wanted; ``room`` holds what
    ``scratch`` asks for."""

    e: Emitter
    spec: Loss
    classes: int
    outputs: ir.Value
    labels: ir.Value
    factor: ir.Value
    goal: ir.Value | None
    past_softmax: bool
    room: ir.Value


def scratch(spec: Loss, classes: int) -> int:
    """Float32 elements that the loss of one image wants beside its arrays: the softmax of logits.
    They may be too many for the stack."""
    return classes if spec.from_logits and LOSSES[spec.name] is categorical else 0


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
        middle = 0.5 if spec.name == "binary_crossentropy" else 1 / case.classes
        y = e.fma(
            y, e.constant(1 - spec.label_smoothing), e.constant(spec.label_smoothing * middle)
        )
    return y


def _only(e: Emitter, term: ir.Value, count: int) -> ir.Value:
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
        y = _only(e, _label(case, at, count), count)
        term = _only(e, b.fmul(y, b.fsub(high, e.load(logits, at, count))), count)
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
    low, high = e.constant(EPSILON), e.constant(1 - EPSILON)
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def at_place(at: Index, count: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        q = b.fmul(e.load(outputs, at, count), share)
        y = _only(e, _label(case, at, count), count)
        inside = b.and_(b.fcmp_ordered(">=", q, low), b.fcmp_ordered("<=", q, high))
        return q, y, b.select(inside, y, e.constant(0.0))

    def add(at: Index, count: int) -> None:
        q, y, u = at_place(at, count)
        clipped = b.select(b.fcmp_unordered(">", q, low), q, low)
        clipped = b.select(b.fcmp_unordered("<", clipped, high), clipped, high)
        e.set(total, b.fsub(e.get(total), b.fmul(y, log(e, clipped))))
        e.set(mass, b.fadd(e.get(mass), u))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mass)))

        def derive(at: Index, count: int) -> None:
            q, _, u = at_place(at, count)
            if case.past_softmax:
                slope = b.fsub(b.fmul(q, every), u)
            else:
                safe = b.select(b.fcmp_ordered(">=", q, low), q, e.constant(1.0))
                slope = b.fmul(b.fsub(every, b.fdiv(u, safe)), share)
            e.store(b.fmul(slope, case.factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def binary(case: Case) -> ir.Value:
    """Mean over outputs of -y log p - (1 - y) log(1 - p), p clipped, or sigmoid of logits."""
    e, b, classes, outputs, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    one = e.constant(1.0)
    low, high, mean = e.constant(EPSILON), e.constant(1 - EPSILON), e.constant(1 / classes)
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        y, x = _label(case, at, count), e.load(outputs, at, count)
        if case.spec.from_logits:
            # log(1 + exp(-|x|)) + max(x, 0) - x y
            size = e.intrinsic("fabs", x)
            soft = log(e, b.fadd(one, exp(e, b.fneg(size))))
            term = b.fsub(b.fadd(soft, e.larger(x, e.constant(0.0))), b.fmul(x, y))
            slope = b.fsub(sigmoid(e, x), y)
        else:
            inside = b.and_(b.fcmp_ordered(">=", x, low), b.fcmp_ordered("<=", x, high))
            p = b.select(b.fcmp_unordered(">", x, low), x, low)
            p = b.select(b.fcmp_unordered("<", p, high), p, high)
            rest = b.fsub(one, p)
            term = b.fneg(e.fma(y, log(e, p), b.fmul(b.fsub(one, y), log(e, rest))))
            slope = b.fdiv(b.fsub(p, y), b.fmul(p, rest))
            slope = b.select(inside, slope, e.constant(0.0))
        e.set(total, b.fadd(e.get(total), _only(e, term, count)))
        if goal is not None:
            e.store(b.fmul(b.fmul(slope, mean), case.factor), goal, at, count)

    e.vectors(classes, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, 1 / classes))


def difference(case: Case) -> ir.Value:
    """Mean over outputs of (x - y)^2 or |x - y|."""
    e, b, classes, outputs, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    zero, squared = e.constant(0.0), case.spec.name == "mean_squared_error"
    mean = e.constant((2.0 if squared else 1.0) / classes)
    total = e.variable(zero)

    def add(at: Index, count: int) -> None:
        gap = b.fsub(e.load(outputs, at, count), _label(case, at, count))
        term = b.fmul(gap, gap) if squared else e.intrinsic("fabs", gap)
        e.set(total, b.fadd(e.get(total), _only(e, term, count)))
        if goal is not None:
            # At zero JAX, and so Keras on it, takes 1 as the slope of |y - x| by y - x.
            sign = b.select(b.fcmp_unordered(">", gap, zero), e.constant(1.0), e.constant(-1.0))
            slope = gap if squared else sign
            e.store(b.fmul(b.fmul(slope, mean), case.factor), goal, at, count)

    e.vectors(classes, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, 1 / classes))


def _scalar(e: Emitter, function, one: ir.Value) -> ir.Value:  # type: ignore[no-untyped-def]
    """A vector function of one scalar."""
    return e.builder.extract_element(function(e, e.broadcast(one)), ir.Constant(I32, 0))


def categorical(case: Case) -> ir.Value:
    """Cross-entropy of logits or of probabilities."""
    return _logits(case) if case.spec.from_logits else _probabilities(case)


# Each returns the image's loss, and stores its gradient where that is wanted.
LOSSES: dict[LossName, Callable[[Case], ir.Value]] = {
    "categorical_crossentropy": categorical,
    "sparse_categorical_crossentropy": categorical,
    "binary_crossentropy": binary,
    "mean_squared_error": difference,
    "mean_absolute_error": difference,
}
