"""Losses that go value by value: the term of each output, and its slope by that output.

Keras takes their mean along the last axis. Where a formula has no slope, as at the end of a clip,
it is the one that JAX takes: half of the slopes beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from llvmlite import ir

from convmill.kernels.lang import Emitter
from convmill.kernels.math import exp, log, sigmoid
from convmill.plan.recipe import Loss, LossName

# (what is being written, the loss, outputs, labels) to terms and slopes; vectors all.
Term: TypeAlias = Callable[[Emitter, Loss, ir.Value, ir.Value], tuple[ir.Value, ir.Value]]


def clip(e: Emitter, x: ir.Value, low: float, high: float) -> tuple[ir.Value, ir.Value]:
    """x held to [low, high], and its slope; what is no number stays so."""
    b, bottom, top = e.builder, e.constant(low), e.constant(high)
    y = b.select(b.fcmp_unordered(">", x, bottom), x, bottom)
    y = b.select(b.fcmp_unordered("<", y, top), y, top)
    inside = b.and_(b.fcmp_ordered(">", x, bottom), b.fcmp_ordered("<", x, top))
    end = b.or_(b.fcmp_ordered("==", x, bottom), b.fcmp_ordered("==", x, top))
    outside = b.select(end, e.constant(0.5), e.constant(0.0))
    return y, b.select(inside, e.constant(1.0), outside)


def binary_crossentropy(
    e: Emitter, spec: Loss, x: ir.Value, y: ir.Value
) -> tuple[ir.Value, ir.Value]:
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


def mean_squared_error(
    e: Emitter, spec: Loss, x: ir.Value, y: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """(x - y)^2."""
    gap = e.builder.fsub(x, y)
    return e.builder.fmul(gap, gap), e.builder.fadd(gap, gap)


def mean_absolute_error(
    e: Emitter, spec: Loss, x: ir.Value, y: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """|y - x|, whose slope by y - x JAX takes for 1 where that is zero."""
    b = e.builder
    gap = b.fsub(x, y)
    right = b.fcmp_unordered(">", gap, e.constant(0.0))
    return e.intrinsic("fabs", gap), b.select(right, e.constant(1.0), e.constant(-1.0))


TERMS: dict[LossName, Term] = {
    "binary_crossentropy": binary_crossentropy,
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
}
