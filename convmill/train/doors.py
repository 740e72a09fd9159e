"""The doors by which a Keras model comes to train compiled; each can be closed again.

- ``Sequential`` and ``Model`` (``models.py``) make Keras' own models, opened from the start.
- ``accelerate(model)`` opens one model, ``restore(model)`` closes it; copies are open as it is.
- ``install()`` opens all models of the process, ``uninstall()`` closes them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import keras

from convmill.plan.rebuild import check_model
from convmill.plan.refusals import NotCovered
from convmill.settings import check_threads
from convmill.train import fallback, load, route, save
from convmill.train.attach import methods
from convmill.train.session import session

if keras.backend.backend() == "jax":
    from convmill.train.attach import initial

    initial.install()

ROUTED = {name: route.method(name) for name in methods.METHODS}
METHODS: dict[str, Callable[..., Any]] = {
    **ROUTED,
    "save": functools.wraps(methods.FILES["save"])(save.save),
    "save_weights": functools.wraps(methods.FILES["save_weights"])(save.save_weights),
    "load_weights": functools.wraps(methods.FILES["load_weights"])(load.load_weights),
}
# Functions of Keras' that do the same, by their modules, and those that models are made by.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "save_model": save.save,
    "save_weights": save.save_weights,
    "load_weights": load.load_weights,
    "load_model": load.load_model,
}


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
        ValueError: ``threads`` is no whole number from 1 to 256, or ``strict`` none of the three.
        NotCovered: strict, and the class of the model has a ``fit`` of its own, or its like.
    """
    check_model(model)
    if threads is not None:
        threads = check_threads(threads)
    if strict is not None and not isinstance(strict, bool):
        raise ValueError(f"strict must be True, False or None. Received: strict={strict!r}")
    ours, current = _ours(model), session(model)
    own = [name for name in methods.overridden(model, tuple(_ADDED)) if name not in ours]
    before = current.threads, current.strict
    current.threads, current.strict = threads, strict
    try:
        _say_what_stays(model, [name for name in own if name in ROUTED])
    except NotCovered:
        current.threads, current.strict = before
        raise
    methods.after_cloning(_accelerate_clone)
    for name, method in _ADDED.items():
        if name not in own:
            # Past Keras' __setattr__, which would track it.
            vars(model)[name] = types.MethodType(method, model)
    return model


def _say_what_stays(model: Any, own: Sequence[str]) -> None:
    """That methods of a model's own stay as they are; raises NotCovered where it is strict."""
    if own:
        gap = NotCovered(
            f"{type(model).__name__} defines its own {', '.join(own)}",
            f"derive it from convmill.models.{_door_name(model)} instead",
        )
        fallback.fall_back(session(model), gap, model)


def restore(model: Any) -> Any:
    """Undoes ``accelerate``: the model runs as Keras runs it.

    Args:
        model: any Keras model; one that was not accelerated stays as it is.

    Returns:
        ``model`` itself.

    Raises:
        TypeError: ``model`` is no Keras model.
    """
    check_model(model)
    restore_methods(model)
    current = session(model)
    current.threads = current.strict = None
    return model


def restore_methods(model: Any) -> None:
    """Takes our methods off a model."""
    for name in _ours(model):
        del vars(model)[name]


def _ours(model: Any) -> list[str]:
    """The methods of ours that a model has."""
    known = vars(model)
    return [
        name
        for name, method in _ADDED.items()
        if getattr(known.get(name), "__func__", None) is method
    ]


def _door_name(model: Any) -> str:
    return "Sequential" if isinstance(model, keras.Sequential) else "Model"


# Copies -----------------------------------------------------------------------------------------


def accelerate_like(model: Any, twin: Any) -> Any:
    """``accelerate(twin)`` with the settings that ``model`` has, if any."""
    current = session(model)
    return accelerate(twin, threads=current.threads, strict=current.strict)


def _accelerate_clone(model: Any, clone: Any) -> Any:
    """What Keras' ``clone_model`` made of ``model`` runs as ``model`` does."""
    return accelerate_like(model, clone) if _ours(model) else clone


def _reduce(model: Any) -> tuple[Any, ...]:
    """For ``copy`` and ``pickle``: made again as Keras does it, then accelerated as it was."""
    plain: Any = type(model)
    make, arguments, *state = plain.__reduce__(model)
    current = session(model)
    return (_remake, (make, arguments, current.threads, current.strict), *state)


def _remake(make: Any, arguments: Any, threads: int | None, strict: bool | None) -> Any:
    return accelerate(make(*arguments), threads=threads, strict=strict)


# What an accelerated model has in the place of its class' methods.
_ADDED = {**METHODS, "__reduce__": _reduce}


# All models -------------------------------------------------------------------------------------


def install() -> None:
    """Lets every Keras model of this process run compiled where it can, as ``accelerate`` does with
    one; those that are there already, too. Keras' functions that write and read files write whole
    files, as ours do. Asking again changes nothing."""
    methods.patch(METHODS, _FUNCTIONS)


def uninstall() -> None:
    """Undoes ``install``; models that were accelerated one by one stay so."""
    methods.unpatch()
