"""The update rules: what a vector of weights becomes by its gradients, and how the slots change.

Formulas are those of Keras' optimizers. Each rule reads the slots by their names and leaves the new
ones there; they stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convmill.kernels import ir, math
from convmill.kernels.lang import Emitter
from convmill.plan.recipe import Optimizer, OptimizerName

Factors = Mapping[str, ir.Value]  # what the step is told by those names, in every lane


@dataclass(frozen=True)
class Case:
    """One vector to be updated. ``weight`` has decayed already, ``gradient`` is clipped; ``slots``
    are the old ones until the rule puts new ones in their places."""

    e: Emitter
    optimizer: Optimizer
    weight: ir.Value
    gradient: ir.Value
    slots: dict[str, ir.Value]
    factors: Factors

    def drift(self, slot: str, towards: ir.Value, rest: float) -> ir.Value:
        """The slot's new value: moved towards a value by the share ``rest`` of the way."""
        e, held = self.e, self.slots[slot]
        moved = e.fma(e.builder.fsub(towards, held), e.constant(rest), held)
        self.slots[slot] = moved
        return moved


Rule = Callable[[Case], ir.Value]  # the new weights


def step(case: Case) -> ir.Value:
    """The new weights by the optimizer's rule; the new slots are left in ``case.slots``."""
    return RULES[case.optimizer.name](case)


def sgd(case: Case) -> ir.Value:
    """-rate g; with momentum m = momentum m - rate g, and Nesterov's look ahead."""
    b, optimizer = case.e.builder, case.optimizer
    pull = b.fmul(case.gradient, case.factors["rate"])
    if not optimizer.momentum:
        return b.fsub(case.weight, pull)
    momentum = case.e.constant(optimizer.momentum)
    speed = case.slots["momentum"] = b.fsub(b.fmul(case.slots["momentum"], momentum), pull)
    ahead = b.fsub(b.fmul(speed, momentum), pull) if optimizer.nesterov else speed
    return b.fadd(case.weight, ahead)


def rmsprop(case: Case) -> ir.Value:
    """-rate g / sqrt(v + epsilon), v the mean of g^2 (less that of g, squared, if centered)."""
    e, b, optimizer, slots = case.e, case.e.builder, case.optimizer, case.slots
    rho, rest = e.constant(optimizer.rho), e.constant(1 - optimizer.rho)
    square = b.fmul(b.fmul(case.gradient, case.gradient), rest)
    spread = slots["velocity"] = e.fma(slots["velocity"], rho, square)
    if optimizer.centered:
        mean = e.fma(slots["average_gradient"], rho, b.fmul(case.gradient, rest))
        slots["average_gradient"] = mean
        spread = e.fma(b.fneg(mean), mean, spread)
    width = e.intrinsic("sqrt", b.fadd(spread, e.constant(optimizer.epsilon)))
    pull = b.fdiv(b.fmul(case.factors["rate"], case.gradient), width)
    if optimizer.momentum > 0:
        pull = e.fma(slots["momentum"], e.constant(optimizer.momentum), pull)
        slots["momentum"] = pull
    return b.fsub(case.weight, pull)


def adam(case: Case) -> ir.Value:
    """-corrected rate m / (sqrt(v) + epsilon), m and v the means of g and g^2."""
    e, b, optimizer = case.e, case.e.builder, case.optimizer
    momentum, velocity = _means(case)
    if optimizer.amsgrad:
        velocity = case.slots["velocity_hat"] = e.largest(velocity, case.slots["velocity_hat"])
    width = b.fadd(e.intrinsic("sqrt", velocity), e.constant(optimizer.epsilon))
    return b.fsub(case.weight, b.fdiv(b.fmul(momentum, case.factors["corrected"]), width))


def _means(case: Case) -> tuple[ir.Value, ir.Value]:
    """Adam's moving means of the gradient and of its square."""
    optimizer, square = case.optimizer, case.e.builder.fmul(case.gradient, case.gradient)
    momentum = case.drift("momentum", case.gradient, 1 - optimizer.beta_1)
    return momentum, case.drift("velocity", square, 1 - optimizer.beta_2)


def adamax(case: Case) -> ir.Value:
    """-corrected rate m / (u + epsilon), u = max(beta_2 u, |g|)."""
    e, b, optimizer = case.e, case.e.builder, case.optimizer
    momentum = case.drift("momentum", case.gradient, 1 - optimizer.beta_1)
    size = e.intrinsic("fabs", case.gradient)
    faded = b.fmul(case.slots["norm"], e.constant(optimizer.beta_2))
    norm = case.slots["norm"] = e.largest(faded, size)
    width = b.fadd(norm, e.constant(optimizer.epsilon))
    return b.fsub(case.weight, b.fdiv(b.fmul(momentum, case.factors["corrected"]), width))


def nadam(case: Case) -> ir.Value:
    """-rate (a m + b g) / (sqrt(c v) + epsilon), a, b and c the corrections of this step."""
    e, b, factors = case.e, case.e.builder, case.factors
    momentum, velocity = _means(case)
    pull = b.fmul(case.gradient, factors["of_gradient"])
    pull = e.fma(momentum, factors["of_momentum"], pull)
    spread = e.intrinsic("sqrt", b.fmul(velocity, factors["of_velocity"]))
    width = b.fadd(spread, e.constant(case.optimizer.epsilon))
    return b.fsub(case.weight, b.fdiv(b.fmul(pull, factors["rate"]), width))


def adadelta(case: Case) -> ir.Value:
    """-rate d, d = g sqrt(s + epsilon) / sqrt(v + epsilon), v and s the means of g^2 and d^2."""
    e, b, optimizer, slots = case.e, case.e.builder, case.optimizer, case.slots
    rho, rest = e.constant(optimizer.rho), e.constant(1 - optimizer.rho)

    def mean(slot: str, value: ir.Value) -> ir.Value:
        return e.fma(slots[slot], rho, b.fmul(b.fmul(value, value), rest))

    def root(value: ir.Value) -> ir.Value:
        return e.intrinsic("sqrt", b.fadd(value, e.constant(optimizer.epsilon)))

    slots["accumulated_grad"] = mean("accumulated_grad", case.gradient)
    pull = b.fmul(root(slots["accumulated_delta_var"]), case.gradient)
    pull = b.fdiv(pull, root(slots["accumulated_grad"]))
    slots["accumulated_delta_var"] = mean("accumulated_delta_var", pull)
    return b.fsub(case.weight, b.fmul(case.factors["rate"], pull))


def adagrad(case: Case) -> ir.Value:
    """-rate g / sqrt(v + epsilon), v the sum of g^2."""
    e, b, slots = case.e, case.e.builder, case.slots
    total = e.fma(case.gradient, case.gradient, slots["accumulator"])
    slots["accumulator"] = total
    width = e.intrinsic("sqrt", b.fadd(total, e.constant(case.optimizer.epsilon)))
    return b.fsub(case.weight, b.fdiv(b.fmul(case.factors["rate"], case.gradient), width))


def ftrl(case: Case) -> ir.Value:
    """w = (clip(z, -l1, l1) - z) / (n^p / rate + 2 l2 + beta / rate), n the sum of g^2 and z that
    of what gradients ask for."""
    e, b, slots, leader = case.e, case.e.builder, case.slots, case.optimizer.leader
    rate, weight = case.factors["rate"], case.weight
    asked = e.fma(weight, e.constant(2 * leader.shrinkage), case.gradient)
    total = e.fma(case.gradient, case.gradient, slots["accumulator"])
    before, after = (_power(e, each, -leader.power) for each in (slots["accumulator"], total))
    rise = b.fdiv(b.fsub(after, before), rate)
    linear = b.fadd(slots["linear"], b.fsub(asked, b.fmul(rise, weight)))
    slots["accumulator"], slots["linear"] = total, linear
    stiffness = b.fadd(b.fdiv(after, rate), e.constant(2 * leader.l2))
    if leader.beta:
        stiffness = b.fadd(stiffness, b.fdiv(e.constant(leader.beta), rate))
    top, bottom = e.constant(leader.l1), e.constant(-leader.l1)
    clipped = b.select(b.fcmp_unordered("<", linear, top), linear, top)
    clipped = b.select(b.fcmp_unordered(">", clipped, bottom), clipped, bottom)
    return b.fdiv(b.fsub(clipped, linear), stiffness)


def _power(e: Emitter, x: ir.Value, exponent: float) -> ir.Value:
    """x to a power that is not negative, of x that are not negative."""
    if exponent == 0:
        return e.constant(1.0)
    if exponent in (0.5, 1):
        return e.intrinsic("sqrt", x) if exponent == 0.5 else x
    power = math.exp(e, e.builder.fmul(math.log(e, x), e.constant(exponent)))
    nothing = e.builder.fcmp_ordered("==", x, e.constant(0.0))
    return e.builder.select(nothing, e.constant(0.0), power)


def lion(case: Case) -> ir.Value:
    """-rate sign(beta_1 m + (1 - beta_1) g); then m moves by beta_2."""
    e, b, optimizer, held = case.e, case.e.builder, case.optimizer, case.slots["momentum"]
    ahead = b.fmul(case.gradient, e.constant(1 - optimizer.beta_1))
    ahead = b.fadd(b.fmul(held, e.constant(optimizer.beta_1)), ahead)
    rest = b.fmul(case.gradient, e.constant(1 - optimizer.beta_2))
    case.slots["momentum"] = b.fadd(b.fmul(held, e.constant(optimizer.beta_2)), rest)
    # zero has no sign, and what is no number stays so
    sign = b.select(b.fcmp_ordered(">", ahead, e.constant(0.0)), e.constant(1.0), ahead)
    sign = b.select(b.fcmp_ordered("<", ahead, e.constant(0.0)), e.constant(-1.0), sign)
    return b.fsub(case.weight, b.fmul(case.factors["rate"], sign))


def schedule_free_adam(case: Case) -> ir.Value:
    """Weights stand between z, the slot "momentum", where steps are made, and the mean x of all z:
    w = (1 - beta_1) z + beta_1 x."""
    e, b, optimizer, slots = case.e, case.e.builder, case.optimizer, case.slots
    stand, rest = e.constant(optimizer.beta_1), e.constant(1 - optimizer.beta_1)
    square = b.fmul(case.gradient, case.gradient)
    velocity = case.drift("velocity", square, 1 - optimizer.beta_2)
    spread = e.intrinsic("sqrt", b.fmul(velocity, case.factors["of_velocity"]))
    width = b.fadd(spread, e.constant(optimizer.epsilon))
    before = slots["momentum"]
    pull = b.fdiv(b.fmul(case.factors["warmed"], case.gradient), width)
    place = slots["momentum"] = b.fsub(before, pull)
    mean = b.fdiv(b.fsub(case.weight, b.fmul(rest, before)), stand)
    mean = e.fma(case.factors["share"], b.fsub(place, mean), mean)
    return e.fma(stand, mean, b.fmul(rest, place))


RULES: dict[OptimizerName, Rule] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamax": adamax,
    "nadam": nadam,
    "adadelta": adadelta,
    "adagrad": adagrad,
    "ftrl": ftrl,
    "lion": lion,
    "schedule_free_adam": schedule_free_adam,
}
