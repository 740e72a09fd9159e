"""The optimizer that ``compile`` was given, as data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from keras import optimizers

from convmill.plan.operations.parameters import CONSTRAINTS, REGULARIZERS, only_keras
from convmill.plan.read import Reading
from convmill.plan.recipe import Average, Clip, Leader, Optimizer, OptimizerName
from convmill.plan.refusals import NotCovered
from convmill.plan.written import is_keras_class
from convmill.train.compilation.numbers import check_number

Range = tuple[float, float]
_SHARE: Range = (0, 1)
_BELOW_ONE: Range = (0, math.nextafter(1.0, 0.0))
_ABOVE_ZERO: Range = (math.nextafter(0.0, 1.0), 1)
_POSITIVE: Range = (0, math.inf)


@dataclass(frozen=True)
class _Rule:
    """An update rule, and the ranges of the numbers that Keras' class holds for it, by the names
    that both of us give them; ``flags`` are yes or no."""

    name: OptimizerName
    numbers: Mapping[str, Range]
    flags: tuple[str, ...] = ()


_MEANS = {"beta_1": _BELOW_ONE, "beta_2": _BELOW_ONE, "epsilon": _POSITIVE}
_ADAM = _Rule("adam", _MEANS, ("amsgrad",))
_RMSPROP = {"rho": _SHARE, "momentum": _SHARE, "epsilon": _POSITIVE}
RULES: Mapping[type, _Rule] = {
    optimizers.SGD: _Rule("sgd", {"momentum": _SHARE}, ("nesterov",)),
    optimizers.RMSprop: _Rule("rmsprop", _RMSPROP, ("centered",)),
    optimizers.Adam: _ADAM,
    optimizers.AdamW: _ADAM,
    optimizers.Adadelta: _Rule("adadelta", {"rho": _SHARE, "epsilon": _POSITIVE}),
    optimizers.Adagrad: _Rule("adagrad", {"epsilon": _POSITIVE}),
    optimizers.Adamax: _Rule("adamax", _MEANS | {"beta_2": _SHARE}),
    optimizers.Nadam: _Rule("nadam", _MEANS),
    optimizers.Ftrl: _Rule("ftrl", {}),
    optimizers.Lion: _Rule("lion", {"beta_1": _ABOVE_ZERO, "beta_2": _SHARE}),
    optimizers.ScheduleFreeAdamW: _Rule("schedule_free_adam", _MEANS | {"beta_1": _ABOVE_ZERO}),
}
# FTRL's numbers: what Keras calls them, what ``Leader`` does, and their ranges.
_LEADER = (
    ("learning_rate_power", "power", (-math.inf, 0.0)),
    ("l1_regularization_strength", "l1", _POSITIVE),
    ("l2_regularization_strength", "l2", _POSITIVE),
    ("l2_shrinkage_regularization_strength", "shrinkage", _POSITIVE),
    ("beta", "beta", _POSITIVE),
)


def read_optimizer(optimizer: Any, reading: Reading) -> Optimizer:
    """The update rule of a Keras optimizer for the weights of ``reading``; "bridged" where Keras
    has to make the step.

    Raises:
        NotCovered: there is no optimizer.
        ValueError: a number that makes no sense, such as a negative clipnorm.
    """
    if optimizer is None:
        raise NotCovered("the model was compiled without an optimizer", "name one in compile")
    rule = _rule(optimizer)
    if rule is None or any(bridged(optimizer, reading)):
        return Optimizer("bridged")
    constants: dict[str, Any] = {
        argument: check_number(argument, getattr(optimizer, argument), *limits)
        for argument, limits in rule.numbers.items()
    }
    constants |= {flag: bool(getattr(optimizer, flag)) for flag in rule.flags}
    if optimizer.weight_decay is not None:
        constants["weight_decay"] = check_number("weight_decay", optimizer.weight_decay, 0)
    if rule.name == "ftrl":
        constants["leader"] = _read_leader(optimizer)
    if rule.name == "schedule_free_adam":
        constants["warmup"] = check_number("warmup_steps", optimizer.warmup_steps, 0)
    return Optimizer(
        rule.name,
        clip=_read_clip(optimizer),
        accumulate=int(optimizer.gradient_accumulation_steps or 1),
        average=_read_average(optimizer),
        **constants,
    )


def _read_average(optimizer: Any) -> Average | None:
    if not optimizer.use_ema:
        return None
    momentum = check_number("ema_momentum", optimizer.ema_momentum, *_SHARE)
    return Average(momentum, int(optimizer.ema_overwrite_frequency or 0))


def bridged(optimizer: Any, reading: Reading) -> Iterator[str]:
    """What only Keras' own optimizer can do for the weights of ``reading``, in words; nothing where
    training is wholly compiled."""
    if _rule(optimizer) is None:
        yield f"the optimizer {type(optimizer).__name__}"
    for parameter, variable in zip(reading.graph.parameters, reading.variables, strict=True):
        if parameter.trainable:
            yield from only_keras(variable)


def route(kind: type) -> Literal["compiled", "bridged"]:
    """How the steps of an optimizer's class are made, and what weights are asked for by the class
    of a constraint or of a regularizer: natively, or by Keras on native gradients. Classes of the
    user's own are bridged, and so is the whole step where one of them is."""
    known = (*RULES, *CONSTRAINTS, *REGULARIZERS)
    return "compiled" if kind in known else "bridged"


def _rule(optimizer: Any) -> _Rule | None:
    return next((rule for kind, rule in RULES.items() if _is(optimizer, kind)), None)


def _read_leader(optimizer: Any) -> Leader:
    return Leader(
        **{
            ours: check_number(argument, getattr(optimizer, argument), *limits)
            for argument, ours, limits in _LEADER
        }
    )


def _is(optimizer: Any, kind: type) -> bool:
    """Whether this is Keras' own ``kind``; on PyTorch Keras derives a class of the same name."""
    found = type(optimizer)
    return issubclass(found, kind) and is_keras_class(found) and found.__name__ == kind.__name__


def _read_clip(optimizer: Any) -> Clip | None:
    """As in Keras, at most one is set (its constructor checks that), and 0 does not clip."""
    kinds: dict[str, Literal["norm", "global_norm", "value"]] = {
        "clipnorm": "norm",
        "global_clipnorm": "global_norm",
        "clipvalue": "value",
    }
    for argument, kind in kinds.items():
        value = getattr(optimizer, argument)
        if value is not None and check_number(argument, value, 0) > 0:
            return Clip(kind, float(value))
    return None


def mark_decay(optimizer: Any, reading: Reading) -> Reading:
    """``reading`` with ``decays`` False for what ``exclude_from_weight_decay`` names."""
    parameters = tuple(
        # Keras has no public way to ask this.
        replace(parameter, decays=bool(optimizer._use_weight_decay(variable)))
        for parameter, variable in zip(reading.graph.parameters, reading.variables, strict=True)
    )
    return replace(reading, graph=replace(reading.graph, parameters=parameters))
