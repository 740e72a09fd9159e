"""Losses that go value by value: the term of each output, and its slope by that output.

Keras takes their mean along the last axis, or their sum. Where a formula has no slope, as at the
end of a clip, it is the one that JAX takes: half of the slopes beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from convmill.kernels import ir
from convmill.kernels.lang import Emitter
from convmill.kernels.math import exp, log, log_any, power, sigmoid, tanh
from convmill.plan.recipe import Loss, LossName

Both: TypeAlias = tuple[ir.Value, ir.Value]  # terms and slopes
# (what is being written, the loss, outputs, labels); vectors all.
Term: TypeAlias = Callable[[Emitter, Loss, ir.Value, ir.Value], Both]
SUMMED: tuple[LossName, ...] = ("kl_divergence",)  # along the last axis


def clip(e: Emitter, x: ir.Value, low: float, high: float) -> Both:
    """x held to [low, high], and its slope; what is no number stays so."""
    b, bottom, top = e.builder, e.constant(low), e.constant(high)
    y = b.select(b.fcmp_unordered(">", x, bottom), x, bottom)
    y = b.select(b.fcmp_unordered("<", y, top), y, top)
    inside = b.and_(b.fcmp_ordered(">", x, bottom), b.fcmp_ordered("<", x, top))
    end = b.or_(b.fcmp_ordered("==", x, bottom), b.fcmp_ordered("==", x, top))
    outside = b.select(end, e.constant(0.5), e.constant(0.0))
    return y, b.select(inside, e.constant(1.0), outside)


def above(e: Emitter, x: ir.Value, low: float) -> Both:
    """x where it is above ``low``, else that; and its slope."""
    b, bottom = e.builder, e.constant(low)
    y = b.select(b.fcmp_unordered(">", x, bottom), x, bottom)
    end = b.select(b.fcmp_ordered("==", x, bottom), e.constant(0.5), e.constant(0.0))
    return y, b.select(b.fcmp_unordered(">", x, bottom), e.constant(1.0), end)


def binary_crossentropy(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """-y log p - (1 - y) log(1 - p), p clipped, or the sigmoid of logits."""
    b, one = e.builder, e.constant(1.0)
    if spec.from_logits:
        # log(1 + exp(-|x|)) + max(x, 0) - x y
        size = e.intrinsic("fabs", x)
        soft = log(e, b.fadd(one, exp(e, b.fneg(size))))
        term = b.fsub(b.fadd(soft, e.larger(x, e.constant(0.0))), b.fmul(x, y))
        return term, b.fsub(sigmoid(e, x), y)
    p, open_ = clip(e, x, spec.epsilon, 1 - spec.epsilon)
    rest = b.fsub(one, p)
    term = b.fneg(e.fma(y, log(e, p), b.fmul(b.fsub(one, y), log(e, rest))))
    return term, b.fmul(open_, b.fdiv(b.fsub(p, y), b.fmul(p, rest)))


def mean_squared_error(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """(x - y)^2."""
    gap = e.builder.fsub(x, y)
    return e.builder.fmul(gap, gap), e.builder.fadd(gap, gap)


def mean_absolute_error(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """|y - x|, whose slope by y - x JAX takes for 1 where that is zero."""
    b = e.builder
    gap = b.fsub(x, y)
    return e.intrinsic("fabs", gap), _sign(e, gap)


def _sign(e: Emitter, gap: ir.Value) -> ir.Value:
    """1 above zero, else -1."""
    right = e.builder.fcmp_unordered(">", gap, e.constant(0.0))
    return e.builder.select(right, e.constant(1.0), e.constant(-1.0))


def mean_absolute_percentage_error(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """100 |y - x| / |y|."""
    b = e.builder
    gap = b.fsub(x, y)
    size, _ = above(e, e.intrinsic("fabs", y), spec.epsilon)
    share = b.fdiv(e.constant(100.0), size)
    return b.fmul(e.intrinsic("fabs", gap), share), b.fmul(_sign(e, gap), share)


def mean_squared_logarithmic_error(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """(log(x + 1) - log(y + 1))^2, x and y held above epsilon."""
    b, one = e.builder, e.constant(1.0)
    high, open_ = above(e, x, spec.epsilon)
    more = b.fadd(high, one)
    gap = b.fsub(log(e, more), log(e, b.fadd(above(e, y, spec.epsilon)[0], one)))
    return b.fmul(gap, gap), b.fmul(open_, b.fdiv(b.fadd(gap, gap), more))


def huber(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """Half the square of x - y up to ``delta``, from there on a line."""
    b, delta, half = e.builder, e.constant(spec.delta), e.constant(0.5)
    gap = b.fsub(x, y)
    size = e.intrinsic("fabs", gap)
    near = b.fcmp_unordered("<=", size, delta)
    line = b.fmul(delta, b.fsub(size, e.constant(0.5 * spec.delta)))
    term = b.select(near, b.fmul(half, b.fmul(gap, gap)), line)
    return term, b.select(near, gap, b.fmul(delta, _sign(e, gap)))


def log_cosh(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """log(cosh(x - y)) = |x - y| + log(1 + exp(-2 |x - y|)) - log 2."""
    b = e.builder
    gap = b.fsub(x, y)
    size = e.intrinsic("fabs", gap)
    rest = log(e, b.fadd(e.constant(1.0), exp(e, b.fmul(size, e.constant(-2.0)))))
    return b.fadd(size, b.fsub(rest, e.constant(math.log(2.0)))), tanh(e, gap)


def poisson(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """x - y log(x + epsilon)."""
    b = e.builder
    more = b.fadd(x, e.constant(spec.epsilon))
    slope = b.fsub(e.constant(1.0), b.fdiv(y, more))
    return b.fsub(x, b.fmul(y, log_any(e, more))), slope


def kl_divergence(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """y log(y / x), both held to [epsilon, 1]."""
    b = e.builder
    x, open_ = clip(e, x, spec.epsilon, 1.0)
    y, _ = clip(e, y, spec.epsilon, 1.0)
    share = b.fdiv(y, x)
    return b.fmul(y, log(e, share)), b.fneg(b.fmul(open_, share))


def hinge(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """1 - x y where that is above zero; y is -1 or 1."""
    b = e.builder
    high, open_ = above(e, b.fsub(e.constant(1.0), b.fmul(x, y)), 0.0)
    return high, b.fneg(b.fmul(y, open_))


def squared_hinge(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """The square of that."""
    b = e.builder
    high, slope = hinge(e, spec, x, y)
    return b.fmul(high, high), b.fmul(b.fadd(high, high), slope)


def binary_focal_crossentropy(e: Emitter, spec: Loss, x: ir.Value, y: ir.Value) -> Both:
    """(1 - p_t)^gamma x binary cross-entropy, p_t the probability of the label; with ``alpha`` the
    weight of label 1, and the rest that of 0, where classes are ``balanced``."""
    b, one = e.builder, e.constant(1.0)
    p = sigmoid(e, x) if spec.from_logits else x
    loss, slope = binary_crossentropy(e, replace(spec, from_logits=False), p, y)
    other = b.fsub(one, y)
    missing = b.fsub(one, e.fma(y, p, b.fmul(other, b.fsub(one, p))))
    focus = power(e, missing, spec.gamma)
    turn = b.fmul(e.constant(spec.gamma), power(e, missing, spec.gamma - 1))
    slope = e.fma(focus, slope, b.fmul(b.fmul(turn, b.fsub(other, y)), loss))
    term = b.fmul(focus, loss)
    if spec.balanced:
        (alpha,) = spec.alpha
        weight = e.fma(y, e.constant(alpha), b.fmul(other, e.constant(1 - alpha)))
        term, slope = b.fmul(weight, term), b.fmul(weight, slope)
    if spec.from_logits:
        slope = b.fmul(slope, b.fmul(p, b.fsub(one, p)))
    return term, slope


TERMS: dict[LossName, Term] = {
    "binary_crossentropy": binary_crossentropy,
    "binary_focal_crossentropy": binary_focal_crossentropy,
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "huber": huber,
    "log_cosh": log_cosh,
    "poisson": poisson,
    "kl_divergence": kl_divergence,
    "hinge": hinge,
    "squared_hinge": squared_hinge,
}
