"""Elementary functions on vectors of float32, and activations with their derivatives.

Polynomials are those of the Cephes library (S. Moshier, single precision); erf above one is formula
7.1.26 of Abramowitz and Stegun. Each is within about 2e-7 of the true value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from convmill.kernels.lang import Emitter
from convmill.plan.graph import Activation

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
    """e to the x; arguments are held to where the result is finite and not denormal."""
    b = e.builder
    low, high = e.constant(-87.33), e.constant(88.37)
    x = b.select(b.fcmp_unordered(">", x, low), x, low)
    x = b.select(b.fcmp_unordered("<", x, high), x, high)
    n = e.intrinsic("nearbyint", b.fmul(x, e.constant(1 / math.log(2))))
    r = e.fma(n, e.constant(-_LN2_HIGH), x)
    r = e.fma(n, e.constant(-_LN2_LOW), r)
    y = e.fma(polynomial(e, r, _EXP), b.fmul(r, r), b.fadd(r, e.constant(1.0)))
    exponent = b.shl(b.fptosi(n, e.integers), e.whole(23))
    return b.bitcast(b.add(b.bitcast(y, e.integers), exponent), e.vector)


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


_GELU_SCALE, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def activate(e: Emitter, activation: Activation, x: ir.Value) -> ir.Value:
    """The activation of each lane (softmax, which is no function of one lane, aside)."""
    b, zero = e.builder, e.constant(0.0)
    match activation.name:
        case "linear":
            return x
        case "relu" | "leaky_relu":
            below = b.fmul(x, e.constant(activation.slope)) if activation.slope else zero
            y = b.select(b.fcmp_unordered(">", x, zero), x, below)
            if activation.ceiling is None:
                return y
            top = e.constant(activation.ceiling)
            return b.select(b.fcmp_unordered("<", y, top), y, top)
        case "sigmoid":
            return sigmoid(e, x)
        case "tanh":
            return tanh(e, x)
        case "elu":
            below = b.fmul(e.constant(activation.slope), exponential_minus_one(e, x))
            return b.select(b.fcmp_unordered(">", x, zero), x, below)
        case "gelu":
            return b.fmul(x, normal_share(e, x))
        case "gelu_tanh":
            return b.fmul(x, sigmoid(e, b.fmul(e.constant(2.0), _gelu_inner(e, x))))
    raise AssertionError(f"{activation.name} is no function of one lane")


def exponential_minus_one(e: Emitter, x: ir.Value) -> ir.Value:
    """exp(x) - 1 without cancellation near zero, as 2 tanh(x/2) / (1 - tanh(x/2)); x <= 0."""
    b = e.builder
    half = tanh(e, b.fmul(x, e.constant(0.5)))
    return b.fdiv(b.fadd(half, half), b.fsub(e.constant(1.0), half))


def normal_share(e: Emitter, x: ir.Value) -> ir.Value:
    """The normal distribution function: (1 + erf(x / sqrt 2)) / 2."""
    b = e.builder
    return e.fma(erf(e, b.fmul(x, e.constant(math.sqrt(0.5)))), e.constant(0.5), e.constant(0.5))


def _gelu_inner(e: Emitter, x: ir.Value) -> ir.Value:
    """sqrt(2/pi) (x + 0.044715 x^3)."""
    cube = e.fma(e.builder.fmul(e.builder.fmul(x, x), x), e.constant(_GELU_CUBE), x)
    return e.builder.fmul(cube, e.constant(_GELU_SCALE))


def gate(e: Emitter, activation: Activation, y: ir.Value, gradient: ir.Value) -> ir.Value:
    """Gradient before an activation, from its output ``y`` and the gradient behind it."""
    b, zero, one = e.builder, e.constant(0.0), e.constant(1.0)
    match activation.name:
        case "linear":
            return gradient
        case "relu" | "leaky_relu":
            # At zero Keras-JAX takes 1 for leaky relu, and 0 for relu or where there is a ceiling.
            leaky = activation.slope and activation.ceiling is None
            open_ = b.fcmp_unordered(">=" if leaky else ">", y, zero)
            shut = b.fmul(gradient, e.constant(activation.slope)) if activation.slope else zero
            if activation.ceiling is not None:
                below = b.fcmp_unordered("<", y, e.constant(activation.ceiling))
                gradient = b.select(below, gradient, zero)
                shut = b.select(b.fcmp_unordered("<", y, zero), shut, zero)
            return b.select(open_, gradient, shut)
        case "sigmoid":
            return b.fmul(gradient, b.fmul(y, b.fsub(one, y)))
        case "tanh":
            return b.fmul(gradient, b.fsub(one, b.fmul(y, y)))
        case "elu":
            slope = b.select(
                b.fcmp_unordered(">", y, zero), one, b.fadd(y, e.constant(activation.slope))
            )
            return b.fmul(gradient, slope)
    raise AssertionError(f"{activation.name} is not a function of its output alone")


def gate_input(e: Emitter, activation: Activation, x: ir.Value, gradient: ir.Value) -> ir.Value:
    """Gradient before an activation, from its input ``x``; any activation of one lane."""
    b = e.builder
    if activation.name == "gelu":
        density = exp(e, b.fmul(b.fmul(x, x), e.constant(-0.5)))
        density = b.fmul(density, e.constant(1 / math.sqrt(2 * math.pi)))
        return b.fmul(gradient, e.fma(x, density, normal_share(e, x)))
    if activation.name == "gelu_tanh":
        share = sigmoid(e, b.fmul(e.constant(2.0), _gelu_inner(e, x)))
        slope = e.fma(b.fmul(x, x), e.constant(3 * _GELU_CUBE), e.constant(1.0))
        slope = b.fmul(slope, e.constant(2 * _GELU_SCALE))
        rise = b.fmul(b.fmul(share, b.fsub(e.constant(1.0), share)), b.fmul(x, slope))
        return b.fmul(gradient, b.fadd(share, rise))
    if activation.name in ("relu", "leaky_relu"):
        return gate(e, activation, x, gradient)  # it only asks on which side of zero x is
    if activation.name == "elu":
        below = b.fadd(activate(e, activation, x), e.constant(activation.slope))
        slope = b.select(b.fcmp_unordered(">", x, e.constant(0.0)), e.constant(1.0), below)
        return b.fmul(gradient, slope)
    return gate(e, activation, activate(e, activation, x), gradient)
