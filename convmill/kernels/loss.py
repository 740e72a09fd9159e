"""Losses of one image with their gradients, and whether the image counts as right.

The output of an image is ``classes`` neighbours in memory. Labels are float32, one for each output,
or one int32 class index (sparse). Formulas are Keras', its clipping of probabilities included.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels.activation import softmax
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, I32, I64, Emitter, Index
from convmill.kernels.math import exp, log, sigmoid
from convmill.lower.differentiate import needs_gradient
from convmill.lower.launches import (
    CORRECT,
    LABELS,
    LOSSES,
    ORDER,
    WEIGHTS,
    Images,
    Launch,
    Slot,
    gradient,
    value,
)
from convmill.lower.stages import Network, PlainStage
from convmill.plan.graph import Activate
from convmill.plan.recipe import EPSILON, Loss, Recipe


def through_softmax(network: Network) -> bool:
    """Whether the loss hands its gradient to the input of the last softmax, past its backward."""
    last, recipe = network.stages[-1], network.recipe
    return (
        recipe is not None
        and recipe.loss.name in ("categorical_crossentropy", "sparse_categorical_crossentropy")
        and not recipe.loss.from_logits
        and isinstance(last, PlainStage)
        and isinstance(last.operation, Activate)
        and last.operation.activation.name == "softmax"
    )


def measure(network: Network, training: bool) -> Launch:
    """Loss of each image and whether it counts as right; in training the gradient as well."""
    read = (value(network.output), ORDER, LABELS, WEIGHTS)
    derived: tuple[Slot, ...] = ()
    if training and any(map(needs_gradient, network.gradients)):
        last = network.stages[-1].input if through_softmax(network) else network.output
        derived = (gradient(last),)
    return Launch(
        "loss.measure",
        "net",
        Images(),
        read,
        (LOSSES, CORRECT, *derived),
        wanted=None if training else "labels",
    )


@dataclass(frozen=True)
class _Case:
    """One image's loss being written: ``spec`` on ``classes`` outputs; labels lie at ``labels``;
    ``factor`` scales the gradient, which goes to ``goal`` where it is wanted."""

    e: Emitter
    spec: Loss
    classes: int
    outputs: ir.Value
    labels: ir.Value
    factor: ir.Value
    goal: ir.Value | None
    past_softmax: bool


def write_measure(k: Kernel) -> None:
    """loss = weight x loss of the image; gradient = its derivative x weight x the batch's factor,
    by the outputs, or by the logits past a last softmax."""
    network, b = k.build.network, k.builder
    recipe = network.recipe
    assert recipe is not None
    position, classes = k.told("position"), network.output.values
    number = k.load_scalar(k.pointer(ORDER), position, I64)
    labels = k.pointer(LABELS)
    if recipe.loss.sparse:
        label = k.at(labels, number, I32)
    else:
        label = k.at(labels, k.mul(number, classes))
    weight = k.load_scalar(k.pointer(WEIGHTS), number)
    case = _Case(
        k,
        recipe.loss,
        classes,
        k.pointer(value(network.output)),
        label,
        k.broadcast(b.fmul(weight, k.told("scale"))),
        k.pointer(k.launch.writes[2]) if len(k.launch.writes) > 2 else None,
        through_softmax(network),
    )
    k.store_scalar(b.fmul(_loss(case), weight), k.pointer(LOSSES), position)
    if recipe.accuracy is not None:
        k.store_scalar(_accuracy(case, recipe), k.pointer(CORRECT), position)


def _loss(case: _Case) -> ir.Value:
    """The image's loss; its gradient is stored where it is wanted."""
    if case.spec.name in ("categorical_crossentropy", "sparse_categorical_crossentropy"):
        return _logits(case) if case.spec.from_logits else _probabilities(case)
    if case.spec.name == "binary_crossentropy":
        return _binary(case)
    return _difference(case)


def _label(case: _Case, at: Index, count: int) -> ir.Value:
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


def _logits(case: _Case) -> ir.Value:
    """loss = -sum y log softmax(z); gradient = softmax(z) sum y - y."""
    e, b, classes, logits, goal = case.e, case.e.builder, case.classes, case.outputs, case.goal
    shares = e.scratch(F32, -(-classes // e.lanes) * e.lanes)
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


def _probabilities(case: _Case) -> ir.Value:
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


def _binary(case: _Case) -> ir.Value:
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


def _difference(case: _Case) -> ir.Value:
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


def _accuracy(case: _Case, recipe: Recipe) -> ir.Value:
    """1.0 where the image counts as right; for binary accuracy the share of right outputs."""
    e, b, classes, outputs, labels = case.e, case.e.builder, case.classes, case.outputs, case.labels
    if recipe.accuracy == "binary":
        right = e.variable(ir.Constant(F32, 0.0))
        with e.loop(0, classes) as k:
            high = b.fcmp_ordered(">", e.load_scalar(outputs, k), ir.Constant(F32, 0.5))
            same = b.fcmp_ordered("==", b.uitofp(high, F32), e.load_scalar(labels, k))
            e.set(right, b.fadd(e.get(right), b.uitofp(same, F32)))
        return b.fdiv(e.get(right), ir.Constant(F32, float(classes)))
    guess = _first_maximum(e, outputs, classes)
    if recipe.loss.sparse:
        truth = b.sext(e.load_scalar(labels, 0, I32), I64)
    else:
        truth = _first_maximum(e, labels, classes)
    return b.uitofp(b.icmp_signed("==", guess, truth), F32)


def _first_maximum(e: Emitter, values: ir.Value, size: int) -> ir.Value:
    """Index of the first of ``size`` values that reaches the maximum."""
    b = e.builder
    best = e.variable(e.load_scalar(values, 0))
    place = e.variable(ir.Constant(I64, 0))
    with e.loop(1, size) as k:
        one = e.load_scalar(values, k)
        larger = b.fcmp_ordered(">", one, e.get(best))
        e.set(best, b.select(larger, one, e.get(best)))
        e.set(place, b.select(larger, e.index(k), e.get(place)))
    return e.get(place)


KERNELS = {"loss.measure": write_measure}
