"""Whether a Keras model may have changed since it was read.

What a model is, is written in attributes of Keras' objects: of the model, its layers, optimizer,
loss, metrics, regularizers and constraints, and in lists and dicts that these hold. Setting any of
them puts another object in its place, so the same objects in all places mean that nothing was set.
That takes some thousand comparisons of addresses, a fraction of what reading takes. Values of
variables do not count: only whether a variable is trained, and what is added to or asked of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import is_
from typing import Any

import keras
import numpy as np

from convmill.plan.written import is_keras_class

# Objects of these classes are looked into.
_KNOWN = (
    keras.Layer,
    keras.Optimizer,
    keras.Loss,
    keras.Metric,
    keras.Regularizer,
    keras.constraints.Constraint,
)
_HOLDERS = (list, set)
_CONSTANT = (tuple, frozenset)  # the same one holds the same things


class Unchanged:
    """What was found in all places, so that it can be found again."""

    def __init__(self, model: Any) -> None:
        self._mappings: list[tuple[Mapping[Any, Any], list[Any]]] = []
        self._holders: list[tuple[Iterable[Any], list[Any]]] = []
        self._variables: list[tuple[Any, tuple[Any, ...]]] = []
        self._settings = _settings()
        self._clear = True  # whether all that was met can be told by its address
        self._look_into(model)

    def _look_into(self, model: Any) -> None:
        seen: set[int] = set()
        rest = [model]
        while rest:
            found = rest.pop()
            if id(found) not in seen:
                seen.add(id(found))
                rest += self._places(found)

    def _places(self, found: Any) -> list[Any]:
        """Notes what an object holds; what it holds."""
        if isinstance(found, _KNOWN):
            return [vars(found), *_own_classes(type(found))]
        if isinstance(found, keras.Variable):
            self._variables.append((found, _asked(found)))
        elif isinstance(found, np.ndarray):
            self._clear = False  # its numbers may be set
        elif isinstance(found, Mapping):
            values = list(found.values())
            self._mappings.append((found, values))
            return values
        elif isinstance(found, _HOLDERS):
            self._holders.append((found, list(found)))
            return list(found)
        elif isinstance(found, _CONSTANT):
            return list(found)
        return []

    def holds(self) -> bool:
        """Whether nothing has changed, for certain."""
        return (
            self._clear
            and self._settings == _settings()
            and all(
                len(holder) == len(values) and all(map(is_, holder.values(), values))
                for holder, values in self._mappings
            )
            and all(
                len(holder) == len(values) and all(map(is_, holder, values))  # type: ignore[arg-type]
                for holder, values in self._holders
            )
            and all(_asked(variable) == asked for variable, asked in self._variables)
        )


def _settings() -> tuple[Any, ...]:
    return keras.config.epsilon(), keras.config.floatx(), keras.config.dtype_policy()


def _asked(variable: Any) -> tuple[Any, ...]:
    return variable.trainable, variable.regularizer, variable.constraint


def _own_classes(cls: type) -> Iterator[Mapping[str, Any]]:
    """What classes of the user's own define."""
    return (vars(each) for each in cls.__mro__ if each is not object and not is_keras_class(each))
