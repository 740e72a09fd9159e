"""Who wrote a class or a method: Keras, or the user."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def is_keras_class(thing: type) -> bool:
    """Whether Keras wrote this class."""
    return thing.__module__.partition(".")[0] == "keras"


def own_call(model: Any) -> str | None:
    """The method by which a model computes what its graph does not tell: ``call`` or ``__call__``
    where it is the user's own, in the model's class or in the model itself; else None."""
    for method in ("call", "__call__"):
        writer = next(base for base in type(model).__mro__ if method in vars(base))
        if method in vars(model) or not is_keras_class(writer):
            return method
    return None


def class_of(layer: Any, known: Container[type]) -> type | None:
    """The class among ``known`` by whose ``call`` a layer computes; None where there is none."""
    if "call" in vars(layer):
        return None
    for candidate in type(layer).__mro__:
        if candidate in known:
            return candidate
        if "call" in vars(candidate):
            return None
    return None
