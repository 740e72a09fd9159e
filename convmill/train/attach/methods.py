"""Keras' methods and functions in whose places ours stand, for every model there is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras.src.models import cloning

METHODS = (
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
)

# Keras' own methods, taken before anything of ours could stand in their place.
KERAS: dict[str, Callable[..., Any]] = {name: getattr(keras.Model, name) for name in METHODS}
# Those that write and read files; they stand in keras.Model itself.
FILES: dict[str, Callable[..., Any]] = {
    name: getattr(keras.Model, name) for name in ("save", "save_weights", "load_weights")
}
SIGNATURES = {name: inspect.signature(method) for name, method in KERAS.items()}

# Functions that write and read files, where users find them.
_PLACES = (
    (keras.models, ("save_model", "load_model")),
    (keras.saving, ("save_model", "load_model", "save_weights", "load_weights")),
)
_FUNCTIONS: dict[tuple[Any, str], Callable[..., Any]] = {
    (module, name): getattr(module, name) for module, names in _PLACES for name in names
}
load_model = _FUNCTIONS[keras.models, "load_model"]

# What a class may override so that its training is its own affair.
_TRAINING_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "compute_loss_and_updates",
    "make_train_function",
    "make_test_function",
    "get_metrics_result",
    "reset_metrics",
    "metrics",
    "stateless_call",
)
_PREDICTION_STEPS = ("predict_step", "make_predict_function", "stateless_call")


def patch(
    methods: Mapping[str, Callable[..., Any]], functions: Mapping[str, Callable[..., Any]]
) -> None:
    """Puts ``methods`` in the place of ``keras.Model``'s, for every model there is, and
    ``functions`` in that of Keras' that write and read files."""
    for name, method in methods.items():
        setattr(keras.Model, name, method)
    for module, name in _FUNCTIONS:
        setattr(module, name, functions[name])


def unpatch() -> None:
    """Takes back what ``patch`` did."""
    for name in METHODS:
        # Keras defines these in a base class of keras.Model, never in itself.
        if name in vars(keras.Model):
            delattr(keras.Model, name)
    for name, method in FILES.items():
        setattr(keras.Model, name, method)
    for (module, name), function in _FUNCTIONS.items():
        setattr(module, name, function)


def overridden(model: Any, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the model's class or the model itself defines anew."""
    own = [cls for cls in type(model).__mro__ if not _is_keras_or_ours(cls)]
    return [name for name in names if name in vars(model) or any(name in vars(c) for c in own)]


def own_steps(model: Any, training: bool) -> list[str]:
    """Parts of Keras' steps, of training or of prediction, that the model defines anew."""
    return overridden(model, _TRAINING_STEPS if training else _PREDICTION_STEPS)


def _is_keras_or_ours(cls: type) -> bool:
    return cls is object or cls.__module__.split(".")[0] in ("keras", "convmill", "tensorflow")


# What ``keras.models.clone_model`` calls, by whichever name a program knows that one.
_CLONING = ("_clone_sequential_model", "_clone_functional_model")


def after_cloning(then: Callable[[Any, Any], Any]) -> None:
    """From here on, Keras' ``clone_model`` returns ``then(model, clone)``; asking again is free.

    Where the model is Sequential or functional: nobody can tell how another one is cloned.
    """
    for name in _CLONING:
        clone = getattr(cloning, name)
        if not hasattr(clone, "then"):
            setattr(cloning, name, _followed(clone, then))


def _followed(clone: Callable[..., Any], then: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    @functools.wraps(clone)
    def cloned(model: Any, *args: Any, **kwargs: Any) -> Any:
        return then(model, clone(model, *args, **kwargs))

    vars(cloned)["then"] = then
    return cloned
