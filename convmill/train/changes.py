"""Whether a Keras model may have changed since it was read.

What a model is, is written in attributes of Keras' objects: of the model, its layers, optimizer,
loss, metrics, regularizers and constraints, and in lists and dicts that these hold. Setting any of
them puts another object in its place, so the same objects in all places mean that nothing was set.
That takes some thousand comparisons, which Python's own lists make in a few microseconds. Values of
variables do not count: only whether a variable is trained, and what is added to or asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from inspect import Signature
from operator import attrgetter, is_
from types import MethodType
from typing import Any

import keras
import numpy as np

from convmill.plan.written import is_keras_class

# Objects of these classes are looked into.
_OF_TRAINING = (keras.Optimizer, keras.Loss, keras.Metric)
_KNOWN = (keras.Layer, *_OF_TRAINING, keras.Regularizer, keras.constraints.Constraint)
_BY_ADDRESS: Any = object.__eq__
_HOLDERS = (list, set)
_CONSTANT = (tuple, frozenset)  # the same one holds the same things
# Objects of these classes that are equal do the same.
_BY_VALUE = (bool, int, float, complex, str, bytes, MethodType, Signature)
_DEEP = 4  # holders within one another that are looked through for what they hold


class _Same:
    """Equal to one object alone, whatever that is equal to."""

    __slots__ = ("_one",)

    def __init__(self, one: Any) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return other is self._one

    __hash__ = None  # type: ignore[assignment]


class Unchanged:
    """What was found in all places, so that it can be found again.

    Lists compare the addresses of what they hold first, and ask only objects that are not the same
    whether they are equal. Where these could say so of others than themselves, ``_Same`` stands for
    them in what was found, or addresses alone are compared.

    An optimizer, a loss or a metric that the model holds under one of the names in ``but`` is not
    looked into: it may change.
    """

    def __init__(self, model: Any, but: Iterable[str] = ()) -> None:
        self._mappings: list[Any] = []  # views of the values of each
        self._values: list[list[Any]] = []
        self._holders: list[Any] = []
        self._held: list[Any] = []
        self._exact: list[tuple[Any, list[Any]]] = []  # holders to be compared by addresses
        self._variables: list[Any] = []
        self._settings = _settings()
        self._clear = True  # whether all that was met can be told by its address
        held = [vars(model).get(name) for name in but]
        self._look_into(model, [one for one in held if isinstance(one, _OF_TRAINING)])
        self._asked = list(map(_asked, self._variables))

    def _look_into(self, model: Any, but: Iterable[Any]) -> None:
        seen = set(map(id, but))
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
            self._variables.append(found)
            if any(getattr(type(found), one) is not getattr(keras.Variable, one) for one in _ASKED):
                self._clear = False  # it keeps them in its own way
        elif isinstance(found, np.ndarray):
            self._clear = False  # its numbers may be set
        elif isinstance(found, Mapping):
            values = list(found.values())
            self._mappings.append(found.values())
            self._values.append([one if _tells(one) else _Same(one) for one in values])
            return values
        elif isinstance(found, _HOLDERS):
            if _tells(found):
                self._holders.append(found)
                self._held.append(found.copy())
            else:
                self._exact.append((found, list(found)))
            return list(found)
        elif isinstance(found, _CONSTANT):
            return list(found)
        return []

    def holds(self) -> bool:
        """Whether nothing has changed, for certain."""
        try:
            return (
                self._clear
                and self._values == list(map(list, self._mappings))
                and self._held == self._holders
                and all(
                    len(holder) == len(values) and all(map(is_, holder, values))
                    for holder, values in self._exact
                )
                and self._asked == list(map(_asked, self._variables))
                and self._settings == _settings()
            )
        except Exception:  # arrays and the like, which are not equal in one word
            return False


def _settings() -> tuple[Any, ...]:
    config = keras.config
    distribution = keras.distribution.distribution()
    return config.epsilon(), config.floatx(), config.dtype_policy(), distribution


# Of variables, and where they keep that: their properties take several times as long.
_ASKED = ("trainable", "regularizer", "constraint")
_asked = attrgetter(*(f"_{name}" for name in _ASKED))


def _tells(found: Any, deep: int = _DEEP) -> bool:
    """Whether what is equal to an object does the same, now and later.

    Variables may be equal by chance of their values, and go apart; those of several values do not
    say in one word whether they are.
    """
    if isinstance(found, keras.Variable):
        return math.prod(found.shape) > 1
    if isinstance(found, Mapping):
        return deep > 0 and all(_tells(one, deep - 1) for one in found.values())
    if isinstance(found, (*_HOLDERS, *_CONSTANT)):
        return deep > 0 and all(_tells(one, deep - 1) for one in found)
    cls = type(found)
    return cls.__eq__ is _BY_ADDRESS or cls in _BY_VALUE or is_keras_class(cls)


def _own_classes(cls: type) -> Iterator[Mapping[str, Any]]:
    """What classes of the user's own define."""
    return (vars(each) for each in cls.__mro__ if each is not object and not is_keras_class(each))
