"""Elementary functions on vectors of float32.

Polynomials are those of the Cephes library (S. Moshier, single precision); erf above one is formula
7.1.26 of Abramowitz and Stegun. Each is within about 2e-7 of the true value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from convmill.kernels import ir
from convmill.kernels.lang import Emitter

_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_TANH = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)
_ERF = (
    7.853861353153693e-5,
    -8.010193625184903e-4,
    5.188327685732524e-3,
    -2.685381193529856e-2,
    1.128358514861418e-1,
    -3.761262582423300e-1,
    1.128379165726710,
)
_ERF_TAIL = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4


def polynomial(e: Emitter, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """Horner's scheme, highest power first."""
    total = e.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        total = e.fma(total, x, e.constant(coefficient))
    return total


def exp(e: Emitter, x: ir.Value) -> ir.Value:
    """e to the x: zero where that is denormal, and held to where it is finite."""
    b = e.builder
    low, high = e.constant(-87.33), e.constant(88.37)
    normal = b.fcmp_unordered(">", x, low)
    x = b.select(normal, x, low)
    x = b.select(b.fcmp_unordered("<", x, high), x, high)
    n = e.intrinsic("nearbyint", b.fmul(x, e.constant(1 / math.log(2))))
    r = e.fma(n, e.constant(-_LN2_HIGH), x)
    r = e.fma(n, e.constant(-_LN2_LOW), r)
    y = e.fma(polynomial(e, r, _EXP), b.fmul(r, r), b.fadd(r, e.constant(1.0)))
    exponent = b.shl(b.fptosi(n, e.integers), e.whole(23))
    found = b.bitcast(b.add(b.bitcast(y, e.integers), exponent), e.vector)
    return b.select(normal, found, e.constant(0.0))


def log(e: Emitter, x: ir.Value) -> ir.Value:
    """Natural logarithm of positive normal numbers; what is no number stays so."""
    b = e.builder
    bits = b.bitcast(x, e.integers)
    exponent = b.sub(b.lshr(bits, e.whole(23)), e.whole(126))
    mantissa = b.bitcast(b.or_(b.and_(bits, e.whole(0x007FFFFF)), e.whole(0x3F000000)), e.vector)
    small = b.fcmp_ordered("<", mantissa, e.constant(math.sqrt(0.5)))
    n = b.sitofp(b.select(small, b.sub(exponent, e.whole(1)), exponent), e.vector)
    m = b.fsub(b.select(small, b.fadd(mantissa, mantissa), mantissa), e.constant(1.0))
    z = b.fmul(m, m)
    y = b.fmul(b.fmul(polynomial(e, m, _LOG), m), z)
    y = e.fma(n, e.constant(_LN2_LOW), y)
    y = e.fma(z, e.constant(-0.5), y)
    y = e.fma(n, e.constant(_LN2_HIGH), b.fadd(m, y))
    return b.select(b.fcmp_unordered("uno", x, x), x, y)


def log_any(e: Emitter, x: ir.Value) -> ir.Value:
    """Natural logarithm of any number: no number below zero, and minus infinity at it."""
    b, zero = e.builder, e.constant(0.0)
    below = b.select(b.fcmp_unordered("<", x, zero), e.constant(math.nan), e.constant(-math.inf))
    return b.select(b.fcmp_ordered(">", x, zero), log(e, x), below)


def power(e: Emitter, x: ir.Value, exponent: float) -> ir.Value:
    """x to a known power; what is below zero only has whole ones."""
    b = e.builder
    if exponent in range(9):
        y = e.constant(1.0)
        for _ in range(int(exponent)):
            y = b.fmul(y, x)
        return y
    y = exp(e, b.fmul(log_any(e, x), e.constant(exponent)))
    at_zero = e.constant(0.0 if exponent > 0 else math.inf)
    return b.select(b.fcmp_ordered("==", x, e.constant(0.0)), at_zero, y)


def sigmoid(e: Emitter, x: ir.Value) -> ir.Value:
    """1 / (1 + exp(-x))."""
    one = e.constant(1.0)
    return e.builder.fdiv(one, e.builder.fadd(one, exp(e, e.builder.fneg(x))))


def tanh(e: Emitter, x: ir.Value) -> ir.Value:
    """Hyperbolic tangent: a polynomial near zero, exponentials elsewhere."""
    b, one = e.builder, e.constant(1.0)
    size = e.intrinsic("fabs", x)
    power = exp(e, b.fadd(size, size))
    far = b.fsub(one, b.fdiv(e.constant(2.0), b.fadd(power, one)))
    far = e.intrinsic("copysign", far, x)
    z = b.fmul(x, x)
    near = e.fma(b.fmul(polynomial(e, z, _TANH), z), x, x)
    return b.select(b.fcmp_unordered("<", size, e.constant(0.625)), near, far)


def erf(e: Emitter, x: ir.Value) -> ir.Value:
    """The error function."""
    b, one = e.builder, e.constant(1.0)
    z, size = b.fmul(x, x), e.intrinsic("fabs", x)
    near = b.fmul(x, polynomial(e, z, _ERF))
    t = b.fdiv(one, e.fma(size, e.constant(0.3275911), one))
    tail = b.fmul(b.fmul(polynomial(e, t, _ERF_TAIL), t), exp(e, b.fneg(z)))
    far = e.intrinsic("copysign", b.fsub(one, tail), x)
    return b.select(b.fcmp_unordered("<", size, one), near, far)


def exponential_minus_one(e: Emitter, x: ir.Value) -> ir.Value:
    """exp(x) - 1 without cancellation near zero, as 2 tanh(x/2) / (1 - tanh(x/2)); x <= 0."""
    b = e.builder
    half = tanh(e, b.fmul(x, e.constant(0.5)))
    return b.fdiv(b.fadd(half, half), b.fsub(e.constant(1.0), half))


def normal_share(e: Emitter, x: ir.Value) -> ir.Value:
    """The normal distribution function: (1 + erf(x / sqrt 2)) / 2."""
    b = e.builder
    return e.fma(erf(e, b.fmul(x, e.constant(math.sqrt(0.5)))), e.constant(0.5), e.constant(0.5))


def exponential(e: Emitter, x: ir.Value) -> ir.Value:
    """e to the x, infinite where float32 cannot hold it; ``exp`` is quicker, and ends before."""
    half = exp(e, e.builder.fmul(x, e.constant(0.5)))
    return e.builder.fmul(half, half)


def softplus(e: Emitter, x: ir.Value) -> ir.Value:
    """log(1 + e to the x), as max(x, 0) + log(1 + e to the -|x|)."""
    b, zero = e.builder, e.constant(0.0)
    above = b.select(b.fcmp_unordered(">", x, zero), x, zero)
    power = exp(e, b.fneg(e.intrinsic("fabs", x)))
    return b.fadd(above, log_of_one_and(e, power))


def log_of_one_and(e: Emitter, x: ir.Value) -> ir.Value:
    """log(1 + x) without loss of what is small; x above -1. What 1 + x is rounded by is put back
    (W. Kahan)."""
    b, one = e.builder, e.constant(1.0)
    whole = b.fadd(one, x)
    lost = b.fsub(x, b.fsub(whole, one))
    return b.fadd(log(e, whole), b.fdiv(lost, whole))


def logarithm(e: Emitter, x: ir.Value) -> ir.Value:
    """Natural logarithm of any number: minus infinity of zero, no number of less."""
    b, zero = e.builder, e.constant(0.0)
    found = b.select(b.fcmp_ordered("==", x, e.constant(math.inf)), x, log(e, x))
    found = b.select(b.fcmp_ordered("==", x, zero), e.constant(-math.inf), found)
    return b.select(b.fcmp_ordered("<", x, zero), e.constant(math.nan), found)
