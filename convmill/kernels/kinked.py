"""Functions of one lane that have a kink, or a part of their own below zero, with their slopes: at
a kink that which Keras takes on JAX."""

from __future__ import annotations

import math

from convmill.kernels import ir
from convmill.kernels.lang import Emitter
from convmill.kernels.math import exponential, exponential_minus_one
from convmill.kernels.smooth import Function, minus_one
from convmill.plan.graph.activations import Activation

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_SELU_INSIDE = Activation("elu", slope=_SELU_ALPHA)


def _rectified(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """x above zero, or above the threshold that ``constants`` holds; ``slope`` times what it is
    away from there below."""
    b, zero = e.builder, e.constant(0.0)
    (threshold,) = a.constants or (0.0,)
    edge = e.constant(threshold)
    below = zero
    if a.slope:
        below = b.fmul(b.fsub(x, edge) if threshold else x, e.constant(a.slope))
    y = x
    if a.ceiling is not None and threshold:  # Keras clips what is above alone, at zero as well
        y = _limited(e, x, 0.0, a.ceiling)
    y = b.select(b.fcmp_unordered(">", x, edge), y, below)
    if a.ceiling is None or threshold:
        return y
    top = e.constant(a.ceiling)
    return b.select(b.fcmp_unordered("<", y, top), y, top)


def _rectified_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """Of one with a threshold."""
    b, zero, one = e.builder, e.constant(0.0), e.constant(1.0)
    edge = e.constant(a.constants[0])
    above = one if a.ceiling is None else _limited_slope(e, x, 0.0, a.ceiling)
    below = b.select(b.fcmp_ordered("==", x, edge), zero, e.constant(a.slope))
    return b.select(b.fcmp_unordered(">", x, edge), above, below)


def _limited(e: Emitter, x: ir.Value, low: float, high: float) -> ir.Value:
    b, bottom, top = e.builder, e.constant(low), e.constant(high)
    y = b.select(b.fcmp_unordered(">", x, bottom), x, bottom)
    return b.select(b.fcmp_unordered("<", y, top), y, top)


def _limited_slope(e: Emitter, x: ir.Value, low: float, high: float) -> ir.Value:
    """1 between the limits, one half at them, as that of a minimum of two equal numbers."""
    b, bottom, top = e.builder, e.constant(low), e.constant(high)
    inside = b.and_(b.fcmp_unordered(">", x, bottom), b.fcmp_unordered("<", x, top))
    at = b.or_(b.fcmp_ordered("==", x, bottom), b.fcmp_ordered("==", x, top))
    half = b.select(at, e.constant(0.5), e.constant(0.0))
    return b.select(inside, e.constant(1.0), half)


def _elu(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    below = e.builder.fmul(e.constant(a.slope), exponential_minus_one(e, x))
    return _above(e, x, x, below)


def _elu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    below = e.builder.fadd(_elu(e, a, x), e.constant(a.slope))
    return _above(e, x, e.constant(1.0), below)


def _above(
    e: Emitter, x: ir.Value, above: ir.Value, below: ir.Value, edge: float = 0.0
) -> ir.Value:
    """``above`` in lanes where x is larger than ``edge``, or no number, else ``below``."""
    return e.builder.select(e.builder.fcmp_unordered(">", x, e.constant(edge)), above, below)


def _selu(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(e.constant(_SELU_SCALE), _elu(e, _SELU_INSIDE, x))


def _selu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(e.constant(_SELU_SCALE), _elu_slope(e, _SELU_INSIDE, x))


def _celu(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """x above zero, else alpha (exp(x / alpha) - 1)."""
    b = e.builder
    scaled = b.fdiv(_limited(e, x, -math.inf, 0.0), e.constant(a.slope))
    return _above(e, x, x, b.fmul(e.constant(a.slope), minus_one(e, scaled)))


def _celu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    scaled = b.fdiv(_limited(e, x, -math.inf, 0.0), e.constant(a.slope))
    return _above(e, x, e.constant(1.0), exponential(e, scaled))


def _hard_sigmoid(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    return b.fdiv(_limited(e, b.fadd(x, e.constant(3.0)), 0.0, 6.0), e.constant(6.0))


def _hard_sigmoid_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """None at the kinks, as of relu6."""
    b = e.builder
    moved = b.fadd(x, e.constant(3.0))
    inside = b.and_(
        b.fcmp_unordered(">", moved, e.constant(0.0)), b.fcmp_unordered("<", moved, e.constant(6.0))
    )
    return b.select(inside, e.constant(1 / 6), e.constant(0.0))


def _hard_silu(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(x, _hard_sigmoid(e, a, x))


def _hard_silu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.fma(x, _hard_sigmoid_slope(e, a, x), _hard_sigmoid(e, a, x))


def _hard_tanh(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return _limited(e, x, -1.0, 1.0)


def _hard_tanh_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """1 at the kinks too."""
    far = e.builder.fcmp_ordered(">", e.intrinsic("fabs", x), e.constant(1.0))
    return e.builder.select(far, e.constant(0.0), e.constant(1.0))


def _hard_shrink(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.select(_within(e, a, x), e.constant(0.0), x)


def _within(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """Lanes of at most the threshold that ``constants`` holds, of either sign."""
    return e.builder.fcmp_ordered("<=", e.intrinsic("fabs", x), e.constant(a.constants[0]))


def _shrink_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.select(_within(e, a, x), e.constant(0.0), e.constant(1.0))


def _soft_shrink(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b, edge = e.builder, e.constant(a.constants[0])
    nearer = _above(e, x, b.fsub(x, edge), b.fadd(x, edge))
    return b.select(_within(e, a, x), e.constant(0.0), nearer)


def _threshold(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    edge, default = a.constants
    return e.builder.select(
        e.builder.fcmp_ordered(">", x, e.constant(edge)), x, e.constant(default)
    )


def _threshold_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    above = e.builder.fcmp_ordered(">", x, e.constant(a.constants[0]))
    return e.builder.select(above, e.constant(1.0), e.constant(0.0))


def _sparse_plus(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """0 up to -1, x from 1, a parabola between."""
    b, one = e.builder, e.constant(1.0)
    away = b.fadd(x, one)
    between = b.fmul(b.fmul(away, away), e.constant(0.25))
    high = b.select(b.fcmp_unordered(">=", x, one), x, between)
    return _above(e, x, high, e.constant(0.0), -1.0)


def _sparse_plus_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    return b.fmul(_limited(e, b.fadd(x, e.constant(1.0)), 0.0, 2.0), e.constant(0.5))


def _sparse_sigmoid(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    return b.fmul(_limited(e, b.fadd(x, e.constant(1.0)), 0.0, 2.0), e.constant(0.5))


def _sparse_sigmoid_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    return b.fmul(_limited_slope(e, b.fadd(x, e.constant(1.0)), 0.0, 2.0), e.constant(0.5))


def _absolute_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """At zero JAX takes 1."""
    return e.intrinsic("copysign", e.constant(1.0), x)


KINKED: dict[str, Function] = {
    "relu": Function(_rectified, _rectified_slope),
    "leaky_relu": Function(_rectified, _rectified_slope),
    "elu": Function(_elu, _elu_slope),
    "selu": Function(_selu, _selu_slope),
    "celu": Function(_celu, _celu_slope),
    "hard_sigmoid": Function(_hard_sigmoid, _hard_sigmoid_slope),
    "hard_silu": Function(_hard_silu, _hard_silu_slope),
    "hard_tanh": Function(_hard_tanh, _hard_tanh_slope),
    "hard_shrink": Function(_hard_shrink, _shrink_slope),
    "soft_shrink": Function(_soft_shrink, _shrink_slope),
    "threshold": Function(_threshold, _threshold_slope),
    "sparse_plus": Function(_sparse_plus, _sparse_plus_slope),
    "sparse_sigmoid": Function(_sparse_sigmoid, _sparse_sigmoid_slope),
    "absolute": Function(lambda e, a, x: e.intrinsic("fabs", x), _absolute_slope),
}
