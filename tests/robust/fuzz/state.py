"""What a compiled model holds, kept to be put back: weights, the optimizer's numbers, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


class State:
    """All variables of a model whose optimizer is built, as they are now."""

    def __init__(self, model: Any) -> None:
        self._variables = [*model.variables, *model.optimizer.variables]
        self._numbers = [np.array(one.value) for one in self._variables]
        self._values = [jnp.array(one) for one in self._numbers]

    def restore(self) -> None:
        """As they were, whatever Keras on JAX has left: its steps delete what they begin with, and
        where they fail, variables have no values. ``assign`` would take most of a case's time."""
        for place, variable in enumerate(self._variables):
            if self._values[place].is_deleted():
                self._values[place] = jnp.array(self._numbers[place])
            variable._direct_assign(self._values[place])


def same_bits(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> bool:
    """Whether arrays have the same shapes and bits."""
    return all(
        one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(found, expected, strict=True)
    )
