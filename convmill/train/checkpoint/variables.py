"""All of Keras' variables that training changes: weights, seed generators, optimizer, metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from convmill.train.bound import Bound
from convmill.train.loaded import copied


def _all(model: Any, bound: Bound) -> list[Any]:
    """Each of them once, in an order that is the same in every process."""
    every = [*model.variables, *bound.seed_variables, *bound.optimizer.variables]
    every += model.metrics_variables
    return list({id(one): one for one in every}.values())


def kinds(model: Any) -> list[list[Any]]:
    """Name, shape and dtype of the model's weights: what another process' must be too."""
    return [[one.name, list(one.shape), one.dtype] for one in model.weights]


def state(model: Any, bound: Bound, training: Bound) -> list[Any]:
    """Their values, which nobody changes any more: those of ``training``, which has made steps that
    the variables do not have, and else their own. ``bound`` is that of the whole model."""
    ahead = training.ahead_values()
    found = _all(model, bound)
    return [ahead[id(one)] if id(one) in ahead else copied(one) for one in found]


def restore(model: Any, bound: Bound, values: list[Any]) -> None:
    """Puts back what ``state`` gave, all of it or nothing. ValueError where they do not fit."""
    if not bound.optimizer.built:
        bound.optimizer.build(model.trainable_variables)
    found = _all(model, bound)
    shapes = [tuple(one.shape) for one in found]
    given = [np.shape(value) for value in values]
    if shapes != given:
        raise ValueError(
            "The checkpoint is of another model or another optimizer: its variables have the "
            f"shapes {given}. Received: a model and an optimizer with {shapes}"
        )
    for variable, value in zip(found, values, strict=True):
        variable.assign(value)
