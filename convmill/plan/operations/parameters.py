"""Collects what a model holds, each once: parameters and the Keras variables behind them, and
dropout layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import constraints, regularizers

from convmill.plan.graph.parameters import (
    Constraint,
    NonNegative,
    NormRange,
    Parameter,
    Regularizer,
    Role,
)

# What a Regularizer and a Constraint can say; Keras has to see to others.
REGULARIZERS = (regularizers.L1, regularizers.L2, regularizers.L1L2)
CONSTRAINTS = (
    constraints.MaxNorm,
    constraints.NonNeg,
    constraints.UnitNorm,
    constraints.MinMaxNorm,
)


class Parameters:
    """Parameters in the order in which layers are met; ``variables`` lie beside ``found``.
    ``dropouts`` are layers with a seed, once for each call, in the order of ``Dropout.seed``."""

    def __init__(self, trainable: Iterable[Any]) -> None:
        self.found: list[Parameter] = []
        self.variables: list[Any] = []
        self.dropouts: list[Any] = []
        self._trainable = {id(variable) for variable in trainable}
        self._indices: dict[int, int] = {}

    def index(self, variable: Any, role: Role = "weight") -> int:
        """Index of the parameter that is ``variable``."""
        if id(variable) not in self._indices:
            trainable = id(variable) in self._trainable
            # Keras adds no penalty for a frozen weight
            penalty = _regularizer(variable) if trainable else None
            bounds = _constraint(variable) if trainable else None
            self._indices[id(variable)] = len(self.found)
            shape = tuple(variable.shape)
            self.found.append(
                Parameter(variable.path, shape, trainable, penalty, role=role, constraint=bounds)
            )
            self.variables.append(variable)
        return self._indices[id(variable)]

    def named(self, layer: Any, name: str, role: Role = "weight") -> int | None:
        """Index of the weight that the layer reads as its ``name``, whatever it is called itself;
        None where it has none."""
        held = getattr(layer, name, None)
        named = (variable for variable in layer.weights if variable.name == name)
        found = held if isinstance(held, keras.Variable) else next(named, None)
        return None if found is None else self.index(found, role)

    def dropout(self, layer: Any) -> int:
        """The number of one call of a layer with a seed among all such calls."""
        self.dropouts.append(layer)
        return len(self.dropouts) - 1


def _regularizer(variable: Any) -> Regularizer | None:
    return regularizer_of(variable.regularizer)


def regularizer_of(given: Any) -> Regularizer | None:
    """One of Keras' regularizers as data; None for another one."""
    if type(given) not in REGULARIZERS:
        return None
    config = given.get_config()
    return Regularizer(l1=float(config.get("l1", 0.0)), l2=float(config.get("l2", 0.0)))


def _constraint(variable: Any) -> Constraint | None:
    """None also for what only Keras can make sense of, such as an axis that there is not."""
    given, count = variable.constraint, len(variable.shape)
    if type(given) not in CONSTRAINTS:
        return None
    if isinstance(given, constraints.NonNeg):
        return NonNegative()
    axes = range(count) if given.axis is None else np.atleast_1d(given.axis).tolist()
    if not all(isinstance(axis, int) and -count <= axis < count for axis in axes):
        return None
    axes = tuple(axis % count for axis in axes)
    least, most, rate = 1.0, 1.0, 1.0  # UnitNorm's
    if not isinstance(given, constraints.UnitNorm):
        least, most = getattr(given, "min_value", 0.0), given.max_value
        rate = getattr(given, "rate", 1.0)
    return NormRange(axes, float(least), float(most), float(rate), keras.config.epsilon())


def only_keras(variable: Any) -> Iterator[str]:
    """What is asked of a weight behind a step, or added to the loss for it, that a Parameter does
    not say: by the names of the layer's arguments."""
    if variable.constraint is not None and _constraint(variable) is None:
        yield f"{variable.name}_constraint={type(variable.constraint).__name__}"
    if variable.regularizer is not None and _regularizer(variable) is None:
        yield f"{variable.name}_regularizer={type(variable.regularizer).__name__}"
