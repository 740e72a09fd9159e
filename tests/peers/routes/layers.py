"""Layers called on numbers run as a model of that one layer, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope

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
    inside = in_stateless_scope()  # of a step that Keras makes eagerly
    if inside or not plain or isinstance(self, keras.Model) or not _are_batches(args[0]):
        return _call(self, *args, **kwargs)
    try:
        outputs = _through_model(self, args[0], bool(training))
    except NotCovered:  # counted where it was raised
        return _call(self, *args, **kwargs)
    # mixed_float16 is computed in float32
    dtype = self.compute_dtype if outputs.dtype == np.float32 else None
    return keras.ops.convert_to_tensor(outputs, dtype=dtype)


def _are_batches(given: Any) -> bool:
    """Whether a layer is given numbers, one tensor or a list of them, without masks."""
    each = given if isinstance(given, (list, tuple)) else [given]
    sizes = {len(x) for x in each if is_concrete(x) and x.ndim >= 1 and x.size > 0}
    masked = any(getattr(x, "_keras_mask", None) is not None for x in each)
    return len(sizes) == 1 and not masked and all(is_concrete(x) and x.ndim >= 1 for x in each)


def _through_model(layer: Any, given: Any, training: bool) -> np.ndarray:
    if isinstance(given, (list, tuple)):
        x: Any = [np.asarray(each) for each in given]
        inputs: Any = [_input(each) for each in x]
    else:
        x = np.asarray(given)
        inputs = _input(x)
    outputs = layer(inputs)
    if isinstance(layer, keras.layers.Flatten):  # alone it computes nothing, and is not compiled
        outputs = keras.layers.Activation("linear")(outputs)
    model = convmill.accelerate(keras.Model(inputs, outputs), strict=True)
    return _training_outputs(model, x) if training else model.predict(x, verbose=0)


def _input(x: np.ndarray) -> Any:
    # Layers cast floats of any width; other types are the input's own.
    return keras.Input(x.shape[1:], dtype="float32" if x.dtype.kind == "f" else x.dtype.name)


def _training_outputs(model: Any, x: Any) -> np.ndarray:
    """What the model computes in a training step, as a metric sees it; nothing is learned."""
    seen: list[np.ndarray] = []
    count = len(x[0]) if isinstance(x, list) else len(x)

    def outputs(y_true: Any, y_pred: Any) -> Any:
        if is_concrete(y_pred):
            seen.append(np.array(y_pred))
        return keras.ops.zeros(count)

    # Nothing is traced: a metric sees numbers.
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[outputs], jit_compile=False)
    model.train_on_batch(x, np.zeros((count, *model.output_shape[1:]), np.float32))
    return seen[-1]
