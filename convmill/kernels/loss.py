"""Losses of one image with their gradients, and whether the image counts as right.

The output of an image is ``classes`` neighbours in memory. Labels are float32, one for each output,
or one int32 class index (sparse). Formulas are Keras', its clipping of probabilities included.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.elementwise import softmax
from convmill.kernels.lang import F32, I32, I64, POINTER, Emitter, Index
from convmill.kernels.math import exp, log, sigmoid
from convmill.lower.stages import ActivationStage, Network
from convmill.plan.recipe import EPSILON, Loss, Recipe


def through_softmax(network: Network) -> bool:
    """Whether the loss hands its gradient to the input of the last softmax, past its backward."""
    last, recipe = network.stages[-1], network.recipe
    return (
        recipe is not None
        and recipe.loss.name in ("categorical_crossentropy", "sparse_categorical_crossentropy")
        and not recipe.loss.from_logits
        and isinstance(last, ActivationStage)
        and last.activation.name == "softmax"
    )


def loss(
    module: ir.Module,
    recipe: Recipe,
    classes: int,
    past_softmax: bool,
    with_gradient: bool,
    lanes: int,
) -> ir.Function:
    """(outputs, labels, weight, scale, loss, correct, gradient), weight and scale float32.

    loss = weight x loss of the image; gradient = its derivative x scale, by the outputs, or by the
    logits where ``past_softmax``.
    """
    e = Emitter(module, "loss", [POINTER, POINTER, F32, F32, POINTER, POINTER, POINTER], lanes)
    _, _, weight, scale, result, correct, gradient = e.arguments
    b, spec = e.builder, recipe.loss
    factor = e.broadcast(b.fmul(weight, scale))
    goal = gradient if with_gradient else None
    if spec.name in ("categorical_crossentropy", "sparse_categorical_crossentropy"):
        if spec.from_logits:
            value = _logits(e, spec, classes, factor, goal)
        else:
            value = _probabilities(e, spec, classes, past_softmax, factor, goal)
    elif spec.name == "binary_crossentropy":
        value = _binary(e, spec, classes, factor, goal)
    else:
        value = _difference(e, spec, classes, factor, goal)
    e.store_scalar(b.fmul(value, weight), result, 0)
    if recipe.accuracy is not None:
        e.store_scalar(_accuracy(e, recipe, classes), correct, 0)
    return e.finish()


def _label(e: Emitter, spec: Loss, classes: int, at: Index, count: int) -> ir.Value:
    """Labels of a vector of classes, smoothed."""
    b = e.builder
    labels = e.arguments[1]
    if spec.sparse:
        steps = ir.Constant(e.integers, list(range(e.lanes)))
        number = b.add(e.broadcast(b.trunc(e.index(at), I32)), steps)
        same = b.icmp_signed("==", number, e.broadcast(e.load_scalar(labels, 0, I32)))
        return b.select(same, e.constant(1.0), e.constant(0.0))
    y = e.load(labels, at, count)
    if spec.label_smoothing:
        middle = 0.5 if spec.name == "binary_crossentropy" else 1 / classes
        y = e.fma(
            y, e.constant(1 - spec.label_smoothing), e.constant(spec.label_smoothing * middle)
        )
    return y


def _only(e: Emitter, value: ir.Value, count: int) -> ir.Value:
    """Zero the lanes that hold no class."""
    if count == e.lanes:
        return value
    return e.builder.select(e.mask(count), value, e.constant(0.0))


def _logits(
    e: Emitter, spec: Loss, classes: int, factor: ir.Value, goal: ir.Value | None
) -> ir.Value:
    """loss = -sum y log softmax(z); gradient = softmax(z) sum y - y."""
    b = e.builder
    logits = e.arguments[0]
    shares = e.scratch(F32, -(-classes // e.lanes) * e.lanes)
    top, whole = softmax(e, logits, shares, classes)
    high = e.broadcast(b.fadd(top, _scalar(e, log, whole)))
    total, mass = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        y = _only(e, _label(e, spec, classes, at, count), count)
        term = _only(e, b.fmul(y, b.fsub(high, e.load(logits, at, count))), count)
        e.set(total, b.fadd(e.get(total), term))
        e.set(mass, b.fadd(e.get(mass), y))

    e.vectors(classes, add)
    if goal is not None:
        every = e.broadcast(e.reduce("fadd", e.get(mass)))

        def derive(at: Index, count: int) -> None:
            y = _label(e, spec, classes, at, count)
            slope = b.fsub(b.fmul(e.load(shares, at, count), every), y)
            e.store(b.fmul(slope, factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def _probabilities(
    e: Emitter,
    spec: Loss,
    classes: int,
    past_softmax: bool,
    factor: ir.Value,
    goal: ir.Value | None,
) -> ir.Value:
    """With q = p / sum p, clipped to c: loss = -sum y log c.

    Let u be y where q was not clipped, else 0. The gradient by q is -u / q, by p that divided by
    sum p after taking away its mean over q, and by logits behind softmax q sum u - u.
    """
    b = e.builder
    outputs = e.arguments[0]
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
        y = _only(e, _label(e, spec, classes, at, count), count)
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
            if past_softmax:
                slope = b.fsub(b.fmul(q, every), u)
            else:
                safe = b.select(b.fcmp_ordered(">=", q, low), q, e.constant(1.0))
                slope = b.fmul(b.fsub(every, b.fdiv(u, safe)), share)
            e.store(b.fmul(slope, factor), goal, at, count)

        e.vectors(classes, derive)
    return e.reduce("fadd", e.get(total))


def _binary(
    e: Emitter, spec: Loss, classes: int, factor: ir.Value, goal: ir.Value | None
) -> ir.Value:
    """Mean over outputs of -y log p - (1 - y) log(1 - p), p clipped, or sigmoid of logits."""
    b, one = e.builder, e.constant(1.0)
    outputs = e.arguments[0]
    low, high, mean = e.constant(EPSILON), e.constant(1 - EPSILON), e.constant(1 / classes)
    total = e.variable(e.constant(0.0))

    def add(at: Index, count: int) -> None:
        y, x = _label(e, spec, classes, at, count), e.load(outputs, at, count)
        if spec.from_logits:
            # log(1 + exp(-|x|)) + max(x, 0) - x y
            size = e.intrinsic("fabs", x)
            soft = log(e, b.fadd(one, exp(e, b.fneg(size))))
            value = b.fsub(b.fadd(soft, e.larger(x, e.constant(0.0))), b.fmul(x, y))
            slope = b.fsub(sigmoid(e, x), y)
        else:
            inside = b.and_(b.fcmp_ordered(">=", x, low), b.fcmp_ordered("<=", x, high))
            p = b.select(b.fcmp_unordered(">", x, low), x, low)
            p = b.select(b.fcmp_unordered("<", p, high), p, high)
            rest = b.fsub(one, p)
            value = b.fneg(e.fma(y, log(e, p), b.fmul(b.fsub(one, y), log(e, rest))))
            slope = b.fdiv(b.fsub(p, y), b.fmul(p, rest))
            slope = b.select(inside, slope, e.constant(0.0))
        e.set(total, b.fadd(e.get(total), _only(e, value, count)))
        if goal is not None:
            e.store(b.fmul(b.fmul(slope, mean), factor), goal, at, count)

    e.vectors(classes, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, 1 / classes))


def _difference(
    e: Emitter, spec: Loss, classes: int, factor: ir.Value, goal: ir.Value | None
) -> ir.Value:
    """Mean over outputs of (x - y)^2 or |x - y|."""
    b, zero = e.builder, e.constant(0.0)
    outputs = e.arguments[0]
    squared = spec.name == "mean_squared_error"
    mean = e.constant((2.0 if squared else 1.0) / classes)
    total = e.variable(zero)

    def add(at: Index, count: int) -> None:
        gap = b.fsub(e.load(outputs, at, count), _label(e, spec, classes, at, count))
        value = b.fmul(gap, gap) if squared else e.intrinsic("fabs", gap)
        e.set(total, b.fadd(e.get(total), _only(e, value, count)))
        if goal is not None:
            # At zero JAX, and so Keras on it, takes 1 as the slope of |y - x| by y - x.
            sign = b.select(b.fcmp_unordered(">", gap, zero), e.constant(1.0), e.constant(-1.0))
            slope = gap if squared else sign
            e.store(b.fmul(b.fmul(slope, mean), factor), goal, at, count)

    e.vectors(classes, add)
    return b.fmul(e.reduce("fadd", e.get(total)), ir.Constant(F32, 1 / classes))


def _scalar(e: Emitter, function, value: ir.Value) -> ir.Value:  # type: ignore[no-untyped-def]
    """A vector function of one scalar."""
    return e.builder.extract_element(function(e, e.broadcast(value)), ir.Constant(I32, 0))


def _accuracy(e: Emitter, recipe: Recipe, classes: int) -> ir.Value:
    """1.0 where the image counts as right; for binary accuracy the share of right outputs."""
    b = e.builder
    outputs, labels = e.arguments[0], e.arguments[1]
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
        value = e.load_scalar(values, k)
        larger = b.fcmp_ordered(">", value, e.get(best))
        e.set(best, b.select(larger, value, e.get(best)))
        e.set(place, b.select(larger, e.index(k), e.get(place)))
    return e.get(place)
