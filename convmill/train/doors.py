"""The doors by which a Keras model comes to train compiled; each can be closed again.

- ``Sequential`` and ``Model`` here make Keras' own models, opened from the start.
- ``accelerate(model)`` opens one model, ``restore(model)`` closes it.
- ``install()`` opens all models of the process, ``uninstall()`` closes them.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import keras

from convmill.plan.graph import NotCovered
from convmill.settings import check_threads
from convmill.train import attach, route
from convmill.train.session import session

_ROUTED = {name: route.method(name) for name in attach.METHODS}


# One model --------------------------------------------------------------------------------------


def accelerate(model: Any, *, threads: int | None = None, strict: bool | None = None) -> Any:
    """Lets ``fit``, ``evaluate``, ``predict`` and the ``..._on_batch`` methods run compiled.

    Args:
        model: a ``keras.Sequential`` or functional model, compiled or not. It stays what it is:
            ``save``, ``summary`` and all else are Keras' own, and it is changed in place.
        threads: threads to compute with; None leaves it to ``CONVMILL_THREADS``, or to the number
            of cores.
        strict: True makes what is not covered an error (``NotCovered``), False has Keras run it
            with one line that says why; None leaves it to ``CONVMILL_STRICT``.

    Returns:
        ``model`` itself.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: ``threads`` is no whole number from 1 to 256.
        NotCovered: strict, and the class of the model has a ``fit`` of its own, or its like.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model. Received: model of type {type(model).__name__}"
        )
    current = session(model)
    if threads is not None:
        threads = check_threads(threads)
    current.threads, current.strict = threads, strict
    restore_methods(model)
    own = attach.overridden(model, attach.METHODS)
    if own:
        gap = NotCovered(
            f"{type(model).__name__} defines its own {', '.join(own)}",
            f"derive it from convmill.models.{_door_name(model)} instead",
        )
        route.fall_back(current, gap, model)
    for name, method in _ROUTED.items():
        if name not in own:
            # Past Keras' __setattr__, which would track it.
            vars(model)[name] = types.MethodType(method, model)
    return model


def restore(model: Any) -> Any:
    """Undoes ``accelerate``: the model runs as Keras runs it. Returns ``model``."""
    restore_methods(model)
    current = session(model)
    current.threads = current.strict = None
    return model


def restore_methods(model: Any) -> None:
    """Takes our methods off a model."""
    for name, method in _ROUTED.items():
        if getattr(vars(model).get(name), "__func__", None) is method:
            del vars(model)[name]


def _door_name(model: Any) -> str:
    return "Sequential" if isinstance(model, keras.Sequential) else "Model"


# New models -------------------------------------------------------------------------------------


class Compiled:
    """What a subclass of ``models.Sequential`` or ``models.Model`` has before Keras' own class."""


for _name, _method in _ROUTED.items():
    setattr(Compiled, _name, _method)


class Door:
    """Stands for a class of Keras models, and makes models of that very class, accelerated.

    So what it makes is saved as Keras' own class, and loads where there is no convmill. A class
    derived from it derives from Keras' class, and its methods run compiled where they can.
    """

    def __init__(self, keras_class: type) -> None:
        functools.update_wrapper(self, keras_class, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return accelerate(self.__wrapped__(*args, **kwargs))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (Compiled, self.__wrapped__)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.__wrapped__)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # not there yet while a copy is being made
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return f"<convmill door to {self.__wrapped__!r}>"


Sequential = Door(keras.Sequential)
Model = Door(keras.Model)


def load_model(filepath: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.load_model``, and ``accelerate`` on what it returns."""
    return accelerate(keras.models.load_model(filepath, *args, **kwargs))


def clone_model(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.clone_model``, and ``accelerate`` on what it returns."""
    return accelerate(keras.models.clone_model(model, *args, **kwargs))


# All models -------------------------------------------------------------------------------------


def install() -> None:
    """Lets every Keras model of this process run compiled where it can."""
    attach.patch(_ROUTED)


def uninstall() -> None:
    """Undoes ``install``; models that were accelerated one by one stay so."""
    attach.unpatch()
