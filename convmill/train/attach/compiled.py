"""What ``compile`` was given, and what Keras made of it: losses, metrics and their trackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend
from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics

from convmill.plan.ends import Ends
from convmill.plan.refusals import NotCovered
from convmill.plan.written import own_call
from convmill.reasons import reason_of, without_addresses


def compilation(model: Any) -> tuple[Any, ...]:
    """What the latest ``compile`` made: other objects after each call of it."""
    return model.optimizer, model._compile_loss, model._compile_metrics, model._loss_tracker


def loss_tracker(model: Any) -> Any:
    """The ``keras.metrics.Mean`` behind the log ``loss``."""
    return model._loss_tracker


def loss_trackers(model: Any, outputs: Ends) -> list[tuple[Any, int]]:
    """The ``keras.metrics.Mean`` behind the log of each output's loss, with the output's number;
    none where there is but one loss."""
    compiled = model._compile_loss
    if compiled is None or not compiled.built:
        return []
    numbers = [_number(loss.path, outputs) for loss in compiled._flat_losses]
    return list(zip(compiled.metrics, numbers, strict=False))


@dataclass(frozen=True)
class Compiled:
    """A metric that ``compile`` named, with the log's name; the number of the output that it looks
    at, and whether sample weights count in it."""

    metric: Any
    name: str
    output: int
    weighted: bool


def compiled_metrics(model: Any, outputs: Ends) -> list[Compiled]:
    """The metrics that ``compile`` named, once Keras has built them."""
    return list(_listed_metrics(model._compile_metrics, outputs))


def _listed_metrics(compiled: Any, outputs: Ends) -> Iterator[Compiled]:
    if compiled is None or not compiled.built:
        return
    numbers = compiled._flatten_y(outputs.structure)
    groups = ((compiled._flat_metrics, False), (compiled._flat_weighted_metrics, True))
    for lists, weighted in groups:
        for group, number in zip(lists, numbers, strict=True):
            for metric in () if group is None else group.metrics:
                before = f"{group.output_name}_" if group.output_name else ""
                yield Compiled(metric, before + metric.name, number, weighted)


def metrics_of_calls(model: Any) -> list[Any]:
    """Metrics that a layer of the model may update when it is called: those of layers whose
    ``call`` is not Keras'. Nobody updates other ones that ``compile`` did not name."""
    layers = model._flatten_layers()
    return [metric for layer in layers if own_call(layer) for metric in layer._metrics]


def flatten_logs(model: Any, logs: Mapping[str, Any]) -> Any:
    """Logs as ``evaluate`` returns them: one number, or a list in the order of the metrics."""
    return model._flatten_metrics_in_order(logs)


# What was given, output by output ----------------------------------------------------------------
#
# Keras resolves lists and dicts of losses, weights and metrics when it sees the first batch. Here
# its own code does so beforehand, with marks in the places of what was given and symbols in the
# places of predictions.


@dataclass(frozen=True)
class Asked:
    """What ``compile`` was given for one output: a loss with its weight, or a metric."""

    output: int
    given: Any
    weight: Any = None


def asked_losses(model: Any, outputs: Ends) -> list[Asked]:
    """The losses that ``compile`` was given, in Keras' order; several may look at one output.

    Raises ValueError where they do not fit the outputs, NotCovered where one looks at several.
    """
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return []
    given, weights = compiled._user_loss, compiled._user_loss_weights
    trial = CompileLoss(_marked(given), weights, output_names=compiled.output_names)
    _build(trial, outputs, "loss and loss_weights", {"loss": given, "loss_weights": weights})
    return [
        Asked(_number(loss.path, outputs), loss.loss.fn.given, loss.loss_weights)
        for loss in trial._flat_losses
    ]


def asked_metrics(model: Any, outputs: Ends) -> list[Asked]:
    """The metrics that ``compile`` was given, weighted or not. ValueError where they do not fit."""
    compiled = getattr(model, "_compile_metrics", None)
    if compiled is None:
        return []
    given = (compiled._user_metrics, compiled._user_weighted_metrics)
    trial = CompileMetrics(*map(_marked, given), output_names=compiled.output_names)
    received = dict(zip(("metrics", "weighted_metrics"), given, strict=True))
    _build(trial, outputs, "metrics and weighted_metrics", received)
    return [Asked(one.output, one.metric._fn.given) for one in _listed_metrics(trial, outputs)]


def _build(trial: Any, outputs: Ends, title: str, received: Mapping[str, Any]) -> None:
    """Has Keras resolve what was given, for outputs like these. ValueError where it cannot."""
    symbols = outputs.pack([backend.KerasTensor((None, 2)) for _ in outputs.names])
    try:
        trial.build(symbols, symbols)
    except (KeyError, TypeError, ValueError) as error:
        keys = ", ".join(map(repr, outputs.keys))
        given = ", ".join(f"{name}={one!r}" for name, one in received.items() if one is not None)
        said = reason_of(error).partition(" Received: ")[0]  # which names what stands for it
        raise ValueError(
            f"{title} must be a list or a dict with one for each output, {keys}. "
            f"Received: {without_addresses(given)}. Keras says: {said}"
        ) from error


def _marked(given: Any) -> Any:
    """``given``, lists and dicts as they are, with a mark for each loss or metric in it."""
    return keras.tree.map_structure(lambda one: None if one is None else _mark(one), given)


def _mark(given: Any) -> Any:
    def mark(*_: Any) -> Any:
        raise AssertionError("a mark is never called")

    vars(mark)["given"] = given
    mark.__qualname__ = str(getattr(given, "__name__", getattr(given, "name", given)))
    return mark


def _number(path: tuple[Any, ...], outputs: Ends) -> int:
    """The number of the output to which a path of Keras leads. NotCovered where it leads to several
    at once."""
    found = outputs.structure
    for key in path:
        named = isinstance(key, str) and not isinstance(found, Mapping)
        found = outputs.names.index(key) if named else found[key]
    if not isinstance(found, int):
        raise NotCovered("a loss looks at several outputs at once", "give each output its own")
    return found
