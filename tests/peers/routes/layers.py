"""Layers called on numbers run as a model of that one layer, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import keras
import numpy as np

import convmill
from convmill import NotCovered
from tests.peers.routes.concrete import is_concrete

_call = keras.Layer.__call__


def route(modules: Mapping[str, ModuleType]) -> None:
    """``layer(numbers)`` goes through ``predict``, or for ``training=True`` through a step."""
    keras.Layer.__call__ = _routed


def _routed(self: Any, *args: Any, **kwargs: Any) -> Any:
    training = kwargs.get("training")
    plain = len(args) == 1 and not set(kwargs) - {"training"} and training in (None, False, True)
    if not plain or isinstance(self, keras.Model) or not _is_batch(args[0]):
        return _call(self, *args, **kwargs)
    try:
        outputs = _through_model(self, np.asarray(args[0]), bool(training))
    except NotCovered:  # counted where it was raised
        return _call(self, *args, **kwargs)
    return keras.ops.convert_to_tensor(outputs)


def _is_batch(x: Any) -> bool:
    return is_concrete(x) and x.ndim >= 1 and x.size > 0


def _through_model(layer: Any, x: np.ndarray, training: bool) -> np.ndarray:
    # Layers cast floats of any width; other types are the input's own.
    dtype = "float32" if x.dtype.kind == "f" else x.dtype.name
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=dtype), layer])
    if isinstance(layer, keras.layers.Flatten):  # alone it computes nothing, and is not compiled
        model.add(keras.layers.Activation("linear"))
    convmill.accelerate(model, strict=True)
    return _training_outputs(model, x) if training else model.predict(x, verbose=0)


def _training_outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """What the model computes in a training step, as a metric sees it; nothing is learned."""
    seen: list[np.ndarray] = []

    def outputs(y_true: Any, y_pred: Any) -> Any:
        if is_concrete(y_pred):
            seen.append(np.array(y_pred))
        return keras.ops.zeros(len(x))

    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=[outputs])
    model.train_on_batch(x, np.zeros((len(x), *model.output_shape[1:]), np.float32))
    return seen[-1]
