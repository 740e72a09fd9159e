"""Optimizers' steps are made by training a model whose gradient is the one that a test gives.

One Dense unit without bias computes ``w . x``. With the loss |w . x - y| on one image, and y far
below, the gradient by w is x itself. So a test's gradient goes in as x, its variable as w.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import keras
import numpy as np

import convmill
from convmill import NotCovered
from tests.peers.routes.concrete import is_concrete

FAR_BELOW = -1000.0

_apply = keras.optimizers.Optimizer.apply
_models: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def route(modules: Mapping[str, ModuleType]) -> None:
    """``optimizer.apply`` goes through ``fit`` and, from the same state, ``train_on_batch``."""
    keras.optimizers.Optimizer.apply = _routed


def _routed(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
    known = self in _models
    averaged = self.use_ema  # averages have the shapes of weights, which tests compare
    if not _fits(grads, trainable_variables) or (self.built and not known) or averaged:
        return _apply(self, grads, trainable_variables)
    (gradient,), (variable,) = grads, trainable_variables
    if not known:
        _models[self] = _model(self, variable)
    model = _models[self]
    kernel = model.layers[0].kernel
    kernel.assign(keras.ops.reshape(variable, kernel.shape))
    try:
        _step_both_ways(model, np.asarray(gradient, np.float32).reshape(1, -1))
    except NotCovered:  # counted where it was raised
        del _models[self]
        return _apply(self, grads, trainable_variables)
    variable.assign(keras.ops.reshape(kernel, variable.shape))
    return None


def _fits(grads: Any, variables: Any) -> bool:
    """Whether there is one gradient of numbers, for a variable that is one column of weights."""
    if variables is None or len(grads) != 1 or not is_concrete(grads[0]):
        return False
    shape = tuple(variables[0].shape)
    return len(shape) < 2 or shape[1:] == (1,)


def _model(optimizer: Any, variable: Any) -> Any:
    size = int(np.prod(variable.shape))
    dense = keras.layers.Dense(1, use_bias=False, kernel_constraint=variable.constraint)
    model = keras.Sequential([keras.Input((size,)), dense])
    model.compile(optimizer=optimizer, loss="mae")
    dense.kernel.assign(keras.ops.reshape(variable, dense.kernel.shape))
    optimizer.build(model.trainable_variables)  # so that its slots have their first values
    return convmill.accelerate(model, strict=True)


def _step_both_ways(model: Any, x: np.ndarray) -> None:
    """One step on x by each method, from one state; they must end in the same state."""
    y = np.full((1, 1), FAR_BELOW, np.float32)
    before = _state(model)
    model.fit(x, y, batch_size=1, verbose=0)
    by_fit = _state(model)
    for key, variable in _variables(model).items():
        variable.assign(before[key])
    model.train_on_batch(x, y)
    for key, value in _state(model).items():
        np.testing.assert_array_equal(value, by_fit[key], "fit and train_on_batch differ")


def _variables(model: Any) -> dict[int, Any]:
    variables = [*model.trainable_variables, *model.optimizer.variables]
    return {id(variable): variable for variable in variables}


def _state(model: Any) -> dict[int, np.ndarray]:
    return {key: np.array(variable.numpy()) for key, variable in _variables(model).items()}
