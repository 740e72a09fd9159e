"""From a call of a Keras method to the compiled path, or to Keras with a line that says why."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from convmill.plan.refusals import NotCovered
from convmill.train import fallback, repeat
from convmill.train.attach import methods
from convmill.train.attach.steps import run_keras
from convmill.train.batch import (
    prepare_predict_on_batch,
    prepare_test_on_batch,
    prepare_train_on_batch,
)
from convmill.train.calls import whole
from convmill.train.evaluate import prepare_evaluate, prepare_predict
from convmill.train.fit import prepare_fit
from convmill.train.session import session

_PREPARE: dict[str, Callable[[Any, dict[str, Any]], Callable[[], Any]]] = {
    "fit": prepare_fit,
    "evaluate": prepare_evaluate,
    "predict": prepare_predict,
    "train_on_batch": prepare_train_on_batch,
    "test_on_batch": prepare_test_on_batch,
    "predict_on_batch": prepare_predict_on_batch,
}
# What takes a shorter way where a call is like one before.
_REPEAT: dict[str, Callable[..., Any]] = {
    "predict": repeat.predict,
    "predict_on_batch": repeat.predict_on_batch,
    "train_on_batch": repeat.train_on_batch,
}
_NEED_COMPILE = ("fit", "evaluate", "train_on_batch", "test_on_batch")

# Keras evaluates inside its own fit with this argument: that run is Keras' already.
_INSIDE_KERAS = "_use_cached_eval_dataset"


def call(name: str, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs the method ``name`` of ``model``, compiled where it is covered, else as Keras does."""
    keras_method = functools.partial(run_keras, name)
    uncompiled = name in _NEED_COMPILE and not model.compiled
    if _INSIDE_KERAS in kwargs or uncompiled:
        return keras_method(model, *args, **kwargs)
    try:
        bound = methods.SIGNATURES[name].bind(model, *args, **kwargs)
    except TypeError:
        return keras_method(model, *args, **kwargs)  # raises in Keras' words
    bound.apply_defaults()
    arguments = {key: value for key, value in bound.arguments.items() if key != "self"}
    extra = arguments.pop("kwargs", {})
    if extra:
        return keras_method(model, *args, **kwargs)
    found = whole(model, lambda: _run(name, model, arguments))
    if not isinstance(found, NotCovered):
        return found
    fallback.fall_back(session(model), found, model)
    with fallback.told(found):
        return keras_method(model, **fallback.readable(arguments))


def _run(name: str, model: Any, arguments: dict[str, Any]) -> Any:
    """What the method returns, or a NotCovered where Keras has to run it: nothing is done yet."""
    try:
        run = _PREPARE[name](model, arguments)
    except NotCovered as gap:
        return gap
    return run()


def method(name: str) -> Callable[..., Any]:
    """A method that stands where Keras' method ``name`` stands."""

    again = _REPEAT.get(name)

    @functools.wraps(methods.KERAS[name])
    def routed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if again is not None and (found := again(self, *args, **kwargs)) is not None:
            return found
        return call(name, self, args, kwargs)

    return routed
