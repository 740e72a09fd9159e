"""The update rules: what a vector of gradients adds to the weights, and how the slots change.

Formulas are those of Keras' optimizers. Each rule reads the slots by their names and leaves the new
ones there; they stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels.lang import Emitter
from convmill.plan.recipe import Optimizer, OptimizerName


@dataclass(frozen=True)
class Rates:
    """The learning rate of a step, and Adam's with its bias corrections, in every lane."""

    plain: ir.Value
    corrected: ir.Value


Slots = dict[str, ir.Value]
Rule = Callable[[Emitter, Optimizer, ir.Value, Slots, Rates], ir.Value]


def step(
    e: Emitter, optimizer: Optimizer, gradient: ir.Value, held: Sequence[ir.Value], rates: Rates
) -> tuple[ir.Value, list[ir.Value]]:
    """What is added to the weights, and the new slots in the order of ``optimizer.slots``."""
    slots = dict(zip(optimizer.slots, held, strict=True))
    moved = RULES[optimizer.name](e, optimizer, gradient, slots, rates)
    return moved, [slots[name] for name in optimizer.slots]


def sgd(
    e: Emitter, optimizer: Optimizer, gradient: ir.Value, slots: Slots, rates: Rates
) -> ir.Value:
    """-rate g; with momentum m = momentum m - rate g, and Nesterov's look ahead."""
    b = e.builder
    pull = b.fmul(gradient, rates.plain)
    if not optimizer.momentum:
        return b.fneg(pull)
    momentum = e.constant(optimizer.momentum)
    speed = slots["momentum"] = b.fsub(b.fmul(slots["momentum"], momentum), pull)
    return b.fsub(b.fmul(speed, momentum), pull) if optimizer.nesterov else speed


def rmsprop(
    e: Emitter, optimizer: Optimizer, gradient: ir.Value, slots: Slots, rates: Rates
) -> ir.Value:
    """-rate g / sqrt(v + epsilon), v the mean of g^2 (less that of g, squared, if centered)."""
    b, rho, rest = e.builder, e.constant(optimizer.rho), e.constant(1 - optimizer.rho)
    square = b.fmul(b.fmul(gradient, gradient), rest)
    spread = slots["velocity"] = e.fma(slots["velocity"], rho, square)
    if optimizer.centered:
        mean = e.fma(slots["average_gradient"], rho, b.fmul(gradient, rest))
        slots["average_gradient"] = mean
        spread = b.fsub(spread, b.fmul(mean, mean))
    width = e.intrinsic("sqrt", b.fadd(spread, e.constant(optimizer.epsilon)))
    pull = b.fdiv(b.fmul(rates.plain, gradient), width)
    if optimizer.momentum > 0:
        pull = e.fma(slots["momentum"], e.constant(optimizer.momentum), pull)
        slots["momentum"] = pull
    return b.fneg(pull)


def adam(
    e: Emitter, optimizer: Optimizer, gradient: ir.Value, slots: Slots, rates: Rates
) -> ir.Value:
    """-corrected rate m / (sqrt(v) + epsilon), m and v the means of g and g^2."""
    b, square = e.builder, e.builder.fmul(gradient, gradient)
    momentum, velocity = slots["momentum"], slots["velocity"]
    momentum = e.fma(b.fsub(gradient, momentum), e.constant(1 - optimizer.beta_1), momentum)
    velocity = e.fma(b.fsub(square, velocity), e.constant(1 - optimizer.beta_2), velocity)
    slots["momentum"], slots["velocity"] = momentum, velocity
    if optimizer.amsgrad:
        velocity = slots["velocity_hat"] = e.larger(velocity, slots["velocity_hat"])
    width = b.fadd(e.intrinsic("sqrt", velocity), e.constant(optimizer.epsilon))
    return b.fneg(b.fdiv(b.fmul(momentum, rates.corrected), width))


RULES: dict[OptimizerName, Rule] = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam}
