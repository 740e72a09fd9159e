"""Regularizers and constraints called on numbers are those of a Dense layer's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import keras
import numpy as np

import convmill
from convmill import NotCovered
from tests.peers.routes.busy import once
from tests.peers.routes.concrete import is_concrete


def route(modules: Mapping[str, ModuleType]) -> None:
    """A penalty is what ``evaluate`` returns, a constraint what a step of size 0 does."""
    for base, through in (
        (keras.regularizers.Regularizer, _penalty),
        (keras.constraints.Constraint, _constrained),
    ):
        for kind in base.__subclasses__():
            kind.__call__ = _routed(kind.__call__, through)


def _routed(call: Any, through: Callable[[Any, np.ndarray], Any]) -> Any:
    def routed(self: Any, weights: Any) -> Any:
        value = getattr(weights, "value", weights)
        with once() as first:
            if first and is_concrete(value) and value.ndim == 2:
                try:
                    return keras.ops.convert_to_tensor(through(self, np.asarray(value, "float32")))
                except NotCovered:  # counted where it was raised
                    pass
            return call(self, weights)

    return routed


def _penalty(regularizer: Any, weights: np.ndarray) -> Any:
    model = _dense(weights, kernel_regularizer=regularizer)
    x, y = (np.zeros((1, size), np.float32) for size in weights.shape)
    return np.float32(model.evaluate(x, y, verbose=0))


def _constrained(constraint: Any, weights: np.ndarray) -> Any:
    model = _dense(weights, kernel_constraint=constraint)
    model.train_on_batch(*(np.zeros((1, size), np.float32) for size in weights.shape))
    return model.layers[-1].kernel.numpy()


def _dense(weights: np.ndarray, **options: Any) -> Any:
    rows, columns = weights.shape
    dense = keras.layers.Dense(columns, use_bias=False, **options)
    model = keras.Sequential([keras.Input((rows,)), dense])
    dense.kernel.assign(weights)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return convmill.accelerate(model, strict=True)
