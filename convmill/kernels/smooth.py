"""Smooth functions of one lane, with their slopes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.lang import Emitter
from convmill.kernels.math import (
    exp,
    exponential,
    exponential_minus_one,
    log_of_one_and,
    logarithm,
    normal_share,
    sigmoid,
    softplus,
    tanh,
)
from convmill.plan.graph.activations import Activation

OfLanes = Callable[[Emitter, Activation, ir.Value], ir.Value]


@dataclass(frozen=True)
class Function:
    """``value`` of each lane, and the ``slope`` there."""

    value: OfLanes
    slope: OfLanes


def plain(make: Callable[[Emitter, ir.Value], ir.Value]) -> OfLanes:
    """A function without constants."""
    return lambda e, activation, x: make(e, x)


_GELU_SCALE, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def minus_one(e: Emitter, x: ir.Value) -> ir.Value:
    """exp(x) - 1 of any x."""
    b = e.builder
    near = exponential_minus_one(e, x)
    far = b.fsub(exponential(e, x), e.constant(1.0))
    return b.select(b.fcmp_unordered(">", x, e.constant(1.0)), far, near)


def _gelu_inner(e: Emitter, x: ir.Value) -> ir.Value:
    """sqrt(2/pi) (x + 0.044715 x^3)."""
    cube = e.fma(e.builder.fmul(e.builder.fmul(x, x), x), e.constant(_GELU_CUBE), x)
    return e.builder.fmul(cube, e.constant(_GELU_SCALE))


def _gelu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    density = exp(e, b.fmul(b.fmul(x, x), e.constant(-0.5)))
    density = b.fmul(density, e.constant(1 / math.sqrt(2 * math.pi)))
    return e.fma(x, density, normal_share(e, x))


def _gelu_tanh(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(x, sigmoid(e, e.builder.fmul(e.constant(2.0), _gelu_inner(e, x))))


def _gelu_tanh_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    share = sigmoid(e, b.fmul(e.constant(2.0), _gelu_inner(e, x)))
    slope = e.fma(b.fmul(x, x), e.constant(3 * _GELU_CUBE), e.constant(1.0))
    slope = b.fmul(slope, e.constant(2 * _GELU_SCALE))
    rise = b.fmul(b.fmul(share, b.fsub(e.constant(1.0), share)), b.fmul(x, slope))
    # further away the share is 0 or 1, and the slope may be infinite
    near = b.fcmp_unordered("<", e.intrinsic("fabs", x), e.constant(30.0))
    return b.fadd(share, b.select(near, rise, e.constant(0.0)))


def _silu(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(x, sigmoid(e, x))


def _silu_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """s + x s (1 - s)."""
    b, share = e.builder, sigmoid(e, x)
    return e.fma(b.fmul(x, share), b.fsub(e.constant(1.0), share), share)


def _sigmoid_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b, share = e.builder, sigmoid(e, x)
    return b.fmul(share, b.fsub(e.constant(1.0), share))


def _tanh_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b, one, y = e.builder, e.constant(1.0), tanh(e, x)
    return b.fmul(b.fsub(one, y), b.fadd(one, y))


def _softsign(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b = e.builder
    return b.fdiv(x, b.fadd(e.intrinsic("fabs", x), e.constant(1.0)))


def _softsign_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b, one = e.builder, e.constant(1.0)
    whole = b.fadd(e.intrinsic("fabs", x), one)
    return b.fdiv(one, b.fmul(whole, whole))


def _mish(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fmul(x, tanh(e, softplus(e, x)))


def _mish_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """t + x (1 - t^2) sigmoid(x), t the tanh of softplus."""
    b, share = e.builder, tanh(e, softplus(e, x))
    rest = b.fmul(b.fsub(e.constant(1.0), b.fmul(share, share)), sigmoid(e, x))
    return e.fma(x, rest, share)


def _tanh_shrink(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fsub(x, tanh(e, x))


def _tanh_shrink_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    y = tanh(e, x)
    return e.builder.fmul(y, y)


def _squareplus(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """(x + root) / 2, below zero as (b / 2) / (root - x), where nothing cancels."""
    b, root = e.builder, _root(e, a, x)
    above = e.fma(x, e.constant(0.5), b.fmul(root, e.constant(0.5)))
    below = b.fdiv(e.constant(a.constants[0] / 2), b.fsub(root, x))
    return b.select(b.fcmp_unordered(">", x, e.constant(0.0)), above, below)


def _squareplus_slope(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    b, half = e.builder, e.constant(0.5)
    return e.fma(b.fdiv(x, _root(e, a, x)), half, half)


def _root(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    """The root of x^2 + b; of large x, whose squares are infinite, their size."""
    b, size = e.builder, e.intrinsic("fabs", x)
    root = e.intrinsic("sqrt", e.fma(x, x, e.constant(a.constants[0])))
    return b.select(b.fcmp_ordered(">", size, e.constant(1e15)), size, root)


def _log_sigmoid(e: Emitter, a: Activation, x: ir.Value) -> ir.Value:
    return e.builder.fneg(softplus(e, e.builder.fneg(x)))


def _over_root(e: Emitter, x: ir.Value) -> ir.Value:
    return e.builder.fdiv(e.constant(1.0), e.intrinsic("sqrt", x))


def _log_above(e: Emitter, x: ir.Value) -> ir.Value:
    """log(1 + x) of any x."""
    b = e.builder
    found = log_of_one_and(e, x)
    below = b.fcmp_ordered("<=", x, e.constant(-1.0))
    found = b.select(below, logarithm(e, b.fadd(x, e.constant(1.0))), found)
    return b.select(b.fcmp_ordered("==", x, e.constant(math.inf)), x, found)


def _square(e: Emitter, x: ir.Value) -> ir.Value:
    return e.builder.fmul(x, x)


def _times(factor: float, make: Callable[[Emitter, ir.Value], ir.Value]) -> OfLanes:
    return lambda e, activation, x: e.builder.fmul(e.constant(factor), make(e, x))


def _over(x: ir.Value, e: Emitter, factor: float = 1.0) -> ir.Value:
    return e.builder.fdiv(e.constant(factor), x)


SMOOTH: dict[str, Function] = {
    "linear": Function(lambda e, a, x: x, lambda e, a, x: e.constant(1.0)),
    "negative": Function(lambda e, a, x: e.builder.fneg(x), lambda e, a, x: e.constant(-1.0)),
    "sigmoid": Function(plain(sigmoid), _sigmoid_slope),
    "tanh": Function(plain(tanh), _tanh_slope),
    "gelu": Function(lambda e, a, x: e.builder.fmul(x, normal_share(e, x)), _gelu_slope),
    "gelu_tanh": Function(_gelu_tanh, _gelu_tanh_slope),
    "silu": Function(_silu, _silu_slope),
    "softplus": Function(plain(softplus), plain(sigmoid)),
    "softsign": Function(_softsign, _softsign_slope),
    "mish": Function(_mish, _mish_slope),
    "tanh_shrink": Function(_tanh_shrink, _tanh_shrink_slope),
    "squareplus": Function(_squareplus, _squareplus_slope),
    "log_sigmoid": Function(_log_sigmoid, lambda e, a, x: sigmoid(e, e.builder.fneg(x))),
    "exponential": Function(plain(exponential), plain(exponential)),
    "expm1": Function(plain(minus_one), plain(exponential)),
    "log": Function(plain(logarithm), lambda e, a, x: _over(x, e)),
    "log1p": Function(
        plain(_log_above), lambda e, a, x: _over(e.builder.fadd(e.constant(1.0), x), e)
    ),
    "square": Function(plain(_square), _times(2.0, lambda e, x: x)),
    "sqrt": Function(lambda e, a, x: e.intrinsic("sqrt", x), _times(0.5, _over_root)),
    "rsqrt": Function(
        plain(_over_root),
        lambda e, a, x: e.builder.fdiv(_over(x, e, -0.5), e.intrinsic("sqrt", x)),
    ),
    "reciprocal": Function(
        lambda e, a, x: _over(x, e), lambda e, a, x: _over(_square(e, x), e, -1.0)
    ),
}
