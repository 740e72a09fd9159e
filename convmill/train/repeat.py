"""Calls that are like one before: what that one found out serves again while nothing has changed.

A call of one image takes native code some tens of microseconds, and finding out what to run many
times as long. So the first call leaves behind, with the reading of the model that it went by, what
it has bound and prepared. A later one that finds the model as it was read, and arrays of the same
shape and dtype, begins there; any other goes the whole way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.train.arrays import Given
from convmill.train.attach.compiled import flatten_logs
from convmill.train.bound import Bound, batches_of
from convmill.train.calls import bring, whole
from convmill.train.compilation.rates import learning_rates, rate_variable
from convmill.train.feed import Part
from convmill.train.loaded import snapshot
from convmill.train.prepare import Preparation
from convmill.train.reading import last_readings
from convmill.train.samples import IN_PLACE, Target, prepare
from convmill.train.scores import Scores

if TYPE_CHECKING:
    from convmill.runtime.repeat import Prediction, TrainingStep

_KEPT = 8  # shapes and dtypes for which something is kept


@dataclass(frozen=True)
class _Repeat:
    """What a call of prediction has bound, and prepared for arrays like its own."""

    bound: Bound
    prediction: Prediction


def keep_prediction(bound: Bound, x: Any, read: Sequence[np.ndarray]) -> None:
    """Prepares predictions for arrays like ``x``, of which ``read`` was made for the Program."""
    if len(read) > 1 or not _is_like(x, read[0]):
        return
    prediction = bound.program.prediction(read)
    if prediction is not None:
        _keep(bound, _kind(x), _Repeat(bound, prediction))


def predict_on_batch(model: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``predict_on_batch`` returns, or None where nobody has prepared that."""
    if len(args) != 1 or kwargs:
        return None
    return _predict(model, args[0])


def predict(model: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``predict`` returns where it shows and calls nothing, or None as above."""
    if len(args) != 1 or kwargs.pop("verbose", "auto") != 0:
        return None
    if getattr(model, "stop_predicting", True):  # the long way sets it
        return None
    size = kwargs.pop("batch_size", None)
    if kwargs or not (size is None or (type(size) is int and size > 0)):
        return None
    return _predict(model, args[0])


def _predict(model: Any, x: Any) -> Any:
    if type(x) is not np.ndarray:
        return None
    repeat = _kept(model, _kind(x), training=False)
    if repeat is None or not repeat.bound.is_current:
        return None
    bound = repeat.bound
    outputs = whole(model, lambda: bound.repeat(repeat.prediction, (x,)))
    return bound.reading.outputs.pack(outputs)


# Training ----------------------------------------------------------------------------------------


class _StepRepeat:
    """What a call of ``train_on_batch`` has bound, and prepared for a batch like its own."""

    def __init__(self, bound: Bound, scores: Scores, step: TrainingStep, target: Target) -> None:
        self.bound, self.scores, self.step, self.target = bound, scores, step, target
        names = {name: name for name in scores.logs()}
        self._order = flatten_logs(bound.model, names)  # of what is returned
        self._held_rate: Any = None  # the learning rate's value, and as a number
        self._rate = 0.0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """The logs of a step on such a batch."""
        samples = prepare(Given((x,), (y,)), self.target)
        part = Part(samples, np.arange(len(samples), dtype=np.int64), len(samples))
        measured = self.bound.train_again(self.step, part, self._rate_now, bring)
        return self.scores.logs_of(part, measured)

    def _rate_now(self) -> float:
        """The learning rate of the next step."""
        optimizer = self.bound.optimizer
        variable = rate_variable(optimizer)
        held = None if variable is None else snapshot(variable)
        if held is None or held is not self._held_rate:
            self._rate = float(learning_rates(optimizer, 1, self.bound.program.iterations)[0])
            self._held_rate = held
        return self._rate

    def returned(self, logs: dict[str, Any], return_dict: bool) -> Any:
        """What Keras returns."""
        if return_dict:
            return logs
        if isinstance(self._order, str):
            return logs[self._order]
        return [logs[name] for name in self._order]


def keep_step(ready: Preparation, scores: Scores, part: Part, arguments: dict[str, Any]) -> None:
    """Prepares steps on batches like this one, if Keras' variables can wait for their results."""
    bound, x, y = scores.bound, arguments["x"], arguments["y"]
    if type(x) is not np.ndarray or type(y) is not np.ndarray or len(part.samples.x) > 1:
        return
    if part.samples.weight is not None or scores.need_outputs or not bound.can_wait():
        return
    if not scores.can_wait():
        return
    step = bound.program.training_step(batches_of(part))
    if step is not None:
        _keep(
            bound,
            (x.shape, x.dtype, y.shape, y.dtype),
            _StepRepeat(bound, scores, step, ready.target(bound.sizes)),
        )


def train_on_batch(model: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``train_on_batch`` returns, or None where nobody has prepared that."""
    try:
        x, y, weights, return_dict = _arguments(*args, **kwargs)
    except TypeError:
        return None  # the long way raises in Keras' words
    arrays = type(x) is np.ndarray and type(y) is np.ndarray
    if not arrays or any(one is not None for one in weights):
        return None
    kind = (x.shape, x.dtype, y.shape, y.dtype)
    repeat = _kept(model, kind, training=True)
    if repeat is None or not repeat.bound.is_current:
        return None
    logs = whole(model, lambda: repeat(x, y))
    return repeat.returned(logs, return_dict)


def _arguments(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    return_dict: Any = False,
) -> tuple[Any, Any, tuple[Any, Any], Any]:
    """Those of ``train_on_batch``."""
    return x, y, (sample_weight, class_weight), return_dict


def _kept(model: Any, kind: tuple[Any, ...], training: bool) -> Any:
    """What was prepared for arrays of a kind, whose first entry is the shape of x, or None."""
    found = last_readings(model, training, sizes=(kind[0][1:],))
    for one in found:
        if kind in one.repeats:
            return one.repeats[kind]
    return None


def _keep(bound: Bound, kind: tuple[Any, ...], repeat: Any) -> None:
    if len(bound.repeats) >= _KEPT:
        bound.repeats.clear()
    bound.repeats[kind] = repeat


def _kind(x: np.ndarray) -> tuple[Any, ...]:
    return x.shape, x.dtype


def _is_like(x: Any, read: np.ndarray) -> bool:
    """Whether a Program reads ``x`` with its own shape and dtype."""
    return type(x) is np.ndarray and _kind(x) == _kind(read) and read.dtype in IN_PLACE
