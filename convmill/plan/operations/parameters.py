"""Collects what a model holds, each once: parameters and the Keras variables behind them, and
dropout layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from keras import regularizers

from convmill.plan.graph import Parameter, Regularizer

REGULARIZERS = (regularizers.L1, regularizers.L2, regularizers.L1L2)  # what a Regularizer can say


class Parameters:
    """Parameters in the order in which layers are met; ``variables`` lie beside ``found``.
    ``dropouts`` are the layers with a seed, in the order of ``Dropout.seed``."""

    def __init__(self, trainable: Iterable[Any]) -> None:
        self.found: list[Parameter] = []
        self.variables: list[Any] = []
        self.dropouts: list[Any] = []
        self._trainable = {id(variable) for variable in trainable}
        self._indices: dict[int, int] = {}

    def index(self, variable: Any, role: Literal["weight", "statistic"] = "weight") -> int:
        """Index of the parameter that is ``variable``."""
        if id(variable) not in self._indices:
            trainable = id(variable) in self._trainable
            # Keras adds no penalty for a frozen weight
            penalty = _regularizer(variable) if trainable else None
            self._indices[id(variable)] = len(self.found)
            self.found.append(
                Parameter(variable.path, tuple(variable.shape), trainable, penalty, role=role)
            )
            self.variables.append(variable)
        return self._indices[id(variable)]

    def named(
        self, layer: Any, name: str, role: Literal["weight", "statistic"] = "weight"
    ) -> int | None:
        """Index of the layer's own weight called ``name``; None where it has none."""
        found = [variable for variable in layer.weights if variable.name == name]
        return self.index(found[0], role) if found else None

    def dropout(self, layer: Any) -> int:
        """The number of a dropout layer among all of them."""
        if not any(layer is known for known in self.dropouts):
            self.dropouts.append(layer)
        return next(at for at, known in enumerate(self.dropouts) if layer is known)


def _regularizer(variable: Any) -> Regularizer | None:
    if type(variable.regularizer) not in REGULARIZERS:
        return None
    config = variable.regularizer.get_config()
    return Regularizer(l1=float(config.get("l1", 0.0)), l2=float(config.get("l2", 0.0)))
