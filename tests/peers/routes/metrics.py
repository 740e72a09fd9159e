"""Metrics that are shown numbers are those of a model that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import keras
import numpy as np

import convmill
from convmill import NotCovered
from convmill.plan.coverage import classes
from tests.peers.routes.busy import once
from tests.peers.routes.concrete import is_concrete

# A metric is counted natively where the loss reads its labels.
_LOSSES = {
    "SparseCategoricalAccuracy": "sparse_categorical_crossentropy",
    "CategoricalAccuracy": "categorical_crossentropy",
    "BinaryAccuracy": "binary_crossentropy",
}


def route(modules: Mapping[str, ModuleType]) -> None:
    """``metric.update_state(y_true, y_pred, sample_weight)`` goes through ``test_on_batch``."""
    bases = {base for _, kind in classes(keras.metrics, keras.Metric) for base in kind.__mro__}
    for kind in bases:
        if issubclass(kind, keras.Metric) and "update_state" in vars(kind):
            kind.update_state = _routed(kind.update_state)


def _routed(update: Any) -> Any:
    def routed(self: Any, y_true: Any, *given: Any, **named: Any) -> Any:
        y_pred, weight = (*given, named.get("y_pred"), None)[:2]
        weight = named.get("sample_weight", weight if len(given) > 1 else None)
        with once() as first:
            if first and _fit(y_true, y_pred, weight) and _is_fresh(self):
                try:
                    return _through_model(self, np.asarray(y_true), np.asarray(y_pred), weight)
                except NotCovered:  # counted where it was raised
                    pass
            return update(self, y_true, *given, **named)

    return routed


def _is_fresh(metric: Any) -> bool:
    """Whether nothing was counted: ``test_on_batch`` sets its metrics back before it counts."""
    return not any(np.any(variable.numpy()) for variable in metric.variables)


def _fit(y_true: Any, y_pred: Any, weight: Any) -> bool:
    """Whether these could be targets, outputs and weights of one batch."""
    if not (is_concrete(y_true) and is_concrete(y_pred)) or min(y_true.ndim, y_pred.ndim) < 2:
        return False
    same = len(y_true) == len(y_pred) and y_pred.size > 0
    return same and (weight is None or (is_concrete(weight) and weight.shape == (len(y_pred),)))


def _through_model(metric: Any, y_true: np.ndarray, y_pred: np.ndarray, weight: Any) -> None:
    model = keras.Sequential([keras.Input(y_pred.shape[1:]), keras.layers.Activation("linear")])
    loss = _LOSSES.get(type(metric).__name__, "mse")
    model.compile("sgd", loss, weighted_metrics=[metric])
    convmill.accelerate(model, strict=True)
    weight = None if weight is None else np.asarray(weight, np.float32)
    model.test_on_batch(y_pred.astype(np.float32), y_true, sample_weight=weight)
