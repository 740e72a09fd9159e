"""The first door: ``Sequential`` and ``Model``, and Keras' functions that make models."""

from __future__ import annotations

import abc
from json import JSONDecodeError
from typing import Any

import keras

from convmill.kinds import check_kind
from convmill.plan.rebuild import check_model
from convmill.runtime import reserve
from convmill.train import load, save
from convmill.train.doors import METHODS, accelerate, accelerate_like

reserve.require_start()  # whoever asks for these makes a model next, which starts Keras' backend


class Compiled:
    """What a class derived from ``Sequential`` or ``Model`` has before Keras' own class."""


for _name, _method in METHODS.items():
    setattr(Compiled, _name, _method)


_BASES: Any = vars(type)["__bases__"]


class Door(abc.ABCMeta):
    """The type of ``Sequential`` and ``Model``, which stand for Keras' classes of these names.

    Calling a door makes a model of Keras' own class, accelerated: what it saves loads where there
    is no convmill. So no model has a door for its class, and ``isinstance``, ``issubclass`` and
    ``match`` ask for Keras' class. A class derived from a door derives from Keras' class, and its
    methods run compiled where they can.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> Any:
        """A door, or a class derived from one, in whose bases what the door stands for stands.

        For Keras changes the bases, and theirs, of classes used as ``Model(inputs, outputs)``.
        """
        found = [each for base in bases for each in _opened(base)]
        return super().__new__(mcs, name, tuple(dict.fromkeys(found)), namespace, **options)

    __wrapped__: Any

    @property
    def __bases__(cls) -> tuple[type, ...]:
        """Of a door, ``object`` alone: ``functools.singledispatch`` then takes it for an abstract
        class above Keras' class, which ``issubclass`` says it is, and not for one below it too.
        """
        return (object,) if is_door(cls) else _BASES.__get__(cls)

    @__bases__.setter
    def __bases__(cls, bases: tuple[type, ...]) -> None:
        _BASES.__set__(cls, bases)

    def __instancecheck__(cls, instance: Any) -> bool:
        if is_door(cls):
            return isinstance(instance, cls.__wrapped__)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if is_door(cls):
            return issubclass(subclass, cls.__wrapped__)
        return super().__subclasscheck__(subclass)


def is_door(thing: type) -> bool:
    """Whether this is ``Sequential`` or ``Model`` of ours, and no class derived from them."""
    return isinstance(thing, Door) and "__wrapped__" in vars(thing)


def _opened(base: type) -> tuple[type, ...]:
    """What stands in the bases of a class for one base."""
    return (Compiled, vars(base)["__wrapped__"]) if is_door(base) else (base,)


def _make(cls: Any, *args: Any, **kwargs: Any) -> Any:
    return accelerate(cls.__wrapped__(*args, **kwargs))


class Sequential(Compiled, keras.Sequential, metaclass=Door):
    __doc__ = keras.Sequential.__doc__
    __module__ = "convmill.models"
    __wrapped__ = keras.Sequential
    __new__ = _make


class Model(Compiled, keras.Model, metaclass=Door):
    __doc__ = keras.Model.__doc__
    __module__ = "convmill.models"
    __wrapped__ = keras.Model
    __new__ = _make


def load_model(filepath: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.load_model``, and ``accelerate`` on what it returns.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, no model, or one that cannot be made here.
    """
    return accelerate(load.load_model(filepath, *args, **kwargs))


def save_model(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
    """``keras.models.save_model``, whole or not at all."""
    check_model(model)
    save.save(model, filepath, *args, **kwargs)


def save_weights(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
    """``keras.saving.save_weights``, whole or not at all."""
    check_model(model)
    save.save_weights(model, filepath, *args, **kwargs)


def load_weights(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
    """``keras.saving.load_weights``: where it fails, the model is as it was."""
    check_model(model)
    load.load_weights(model, filepath, *args, **kwargs)


def model_from_json(json_string: str, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.model_from_json``, and ``accelerate`` on what it returns."""
    check_kind("json_string", json_string, str, "a text, what model.to_json() gives")
    try:
        found = keras.models.model_from_json(json_string, *args, **kwargs)
    except JSONDecodeError as error:
        raise ValueError(
            "json_string must be what model.to_json() gives. "
            f"Received: json_string={json_string!r:.100} ({error})"
        ) from error
    return accelerate(found)


def clone_model(model: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.clone_model``, accelerated; with the settings of ``model`` where it is."""
    check_model(model)
    return accelerate_like(model, keras.models.clone_model(model, *args, **kwargs))


def deserialize_keras_object(config: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.saving.deserialize_keras_object``, and ``accelerate`` where it returns a model."""
    found = keras.saving.deserialize_keras_object(config, *args, **kwargs)
    return accelerate(found) if isinstance(found, keras.Model) else found
