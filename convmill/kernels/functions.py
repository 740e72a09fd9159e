"""Activations, and other functions of one lane, forward and backward."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.kinked import KINKED
from convmill.kernels.lang import Emitter
from convmill.kernels.smooth import SMOOTH
from convmill.plan.graph.activations import Activation

FUNCTIONS = {**SMOOTH, **KINKED}


def activate(e: Emitter, activation: Activation, x: ir.Value) -> ir.Value:
    """The activation of each lane (softmax, which is no function of one lane, aside)."""
    if activation.name == "linear":
        return x
    return FUNCTIONS[activation.name].value(e, activation, x)


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
            return b.fmul(gradient, b.fmul(b.fsub(one, y), b.fadd(one, y)))
        case "elu":
            slope = b.select(
                b.fcmp_unordered(">", y, zero), one, b.fadd(y, e.constant(activation.slope))
            )
            return b.fmul(gradient, slope)
    raise AssertionError(f"{activation.name} is not a function of its output alone")


def asks_for_side(activation: Activation) -> bool:
    """Whether the gradient asks of an activation's output, or of its input, nothing but on which
    side of zero, or of its ceiling, it is: then both tell the same."""
    plain_relu = activation.name in ("relu", "leaky_relu") and not activation.constants
    return activation.name == "linear" or plain_relu


def gate_input(e: Emitter, activation: Activation, x: ir.Value, gradient: ir.Value) -> ir.Value:
    """Gradient before an activation, from its input ``x``; any activation of one lane."""
    if asks_for_side(activation):
        return gate(e, activation, x, gradient)
    if activation.name in ("sigmoid", "tanh"):
        return gate(e, activation, activate(e, activation, x), gradient)
    return e.builder.fmul(gradient, FUNCTIONS[activation.name].slope(e, activation, x))
