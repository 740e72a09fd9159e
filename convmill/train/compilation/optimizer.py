"""The optimizer that ``compile`` was given, as data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from keras import optimizers

from convmill.plan.graph import NotCovered
from convmill.plan.read import Reading
from convmill.plan.recipe import Clip, Optimizer
from convmill.plan.written import is_keras_class
from convmill.train.compilation.numbers import check_number


def read_optimizer(optimizer: Any, reading: Reading) -> Optimizer:
    """The update rule of a Keras optimizer for the weights of ``reading``.

    Raises:
        NotCovered: an optimizer, or an argument of it, that ``Optimizer`` cannot express.
        ValueError: a number that makes no sense, such as a negative clipnorm.
    """
    rule = _read_rule(optimizer)
    if rule.weight_decay and mark_decay(optimizer, reading).graph != reading.graph:
        raise NotCovered(
            "weights that exclude_from_weight_decay names", "decay all weights, or none"
        )
    return rule


def _read_rule(optimizer: Any) -> Optimizer:
    if optimizer is None:
        raise NotCovered("the model was compiled without an optimizer", "name one in compile")
    title = type(optimizer).__name__
    for argument in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        value = getattr(optimizer, argument, None)
        if value:
            raise NotCovered(f"the optimizer {title} with {argument}={value}", "leave it out")
    decay = 0.0
    if optimizer.weight_decay is not None:
        decay = check_number("weight_decay", optimizer.weight_decay, 0)
    common: dict[str, Any] = {"weight_decay": decay, "clip": _read_clip(optimizer)}
    if _is(optimizer, optimizers.SGD):
        momentum = check_number("momentum", optimizer.momentum, 0, 1)
        return Optimizer("sgd", momentum=momentum, nesterov=bool(optimizer.nesterov), **common)
    if _is(optimizer, optimizers.RMSprop):
        return Optimizer(
            "rmsprop",
            rho=check_number("rho", optimizer.rho, 0, 1),
            momentum=check_number("momentum", optimizer.momentum, 0, 1),
            epsilon=check_number("epsilon", optimizer.epsilon, 0),
            centered=bool(optimizer.centered),
            **common,
        )
    if _is(optimizer, optimizers.Adam) or _is(optimizer, optimizers.AdamW):
        below_one = math.nextafter(1.0, 0.0)
        return Optimizer(
            "adam",
            beta_1=check_number("beta_1", optimizer.beta_1, 0, below_one),
            beta_2=check_number("beta_2", optimizer.beta_2, 0, below_one),
            epsilon=check_number("epsilon", optimizer.epsilon, 0),
            amsgrad=bool(optimizer.amsgrad),
            **common,
        )
    raise NotCovered(f"the optimizer {title}", "use SGD, RMSprop, Adam or AdamW")


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
