"""Which of the metrics that ``compile`` was given are counted together with the loss."""

from __future__ import annotations

from typing import Any

from keras import metrics

from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Accuracy, Loss


def accuracy_kind(metric: Any, loss: Loss, shape: Shape) -> Accuracy | None:
    """Which accuracy ``metric`` is, if it is one that is counted together with the loss.

    ``metric`` is a string, a function or a Metric, as ``compile`` takes them; ``shape`` is the
    output's for one image. "accuracy" is resolved by the shapes, as Keras does: an output of one
    unit is binary, class indices are sparse, and all else is categorical (an output of several
    sigmoids too). None for any other metric, and for an accuracy that wants other labels than the
    loss reads: those are computed in Python from the outputs.
    """
    if loss.bridged:  # what labels are is known to that loss alone
        return None
    kind = _kind_by_shape(loss, shape) if str(metric).lower() in ("accuracy", "acc") else None
    if kind is None:
        if isinstance(metric, str):
            try:
                metric = metrics.get(metric)
            except ValueError:
                return None  # Keras names it when the metric is built
        kind = kind_of_metric(metric)
    if kind is None or (kind == "sparse") != loss.sparse:
        return None
    return kind


def _kind_by_shape(loss: Loss, shape: Shape) -> Accuracy:
    if shape[-1] == 1:
        return "binary"
    return "sparse" if loss.sparse else "categorical"


def kind_of_metric(metric: Any) -> Accuracy | None:
    """Which accuracy a metric, or a function of Keras', is that is measured natively."""
    if metric is metrics.categorical_accuracy:
        return "categorical"
    if metric is metrics.sparse_categorical_accuracy:
        return "sparse"
    if metric is metrics.binary_accuracy:
        return "binary"
    if not isinstance(metric, metrics.Metric) or metric.dtype != "float32":
        return None
    if type(metric) is metrics.MeanMetricWrapper:  # what Keras makes of a function
        return kind_of_metric(metric._fn) if not metric._fn_kwargs else None
    if type(metric) is metrics.CategoricalAccuracy:
        return "categorical"
    if type(metric) is metrics.SparseCategoricalAccuracy:
        return "sparse"
    if type(metric) is metrics.BinaryAccuracy and metric.threshold == 0.5:
        return "binary"
    return None
