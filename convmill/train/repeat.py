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

from convmill.train.bound import Bound
from convmill.train.calls import whole
from convmill.train.reading import last_readings

if TYPE_CHECKING:
    from convmill.runtime.repeat import Prediction

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
        kept = bound.repeats
        if len(kept) >= _KEPT:
            kept.clear()
        kept[_kind(x)] = _Repeat(bound, prediction)


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
    found = last_readings(model, training=False, sizes=(x.shape[1:],))
    kind = _kind(x)
    repeat = next((one.repeats[kind] for one in found if kind in one.repeats), None)
    if repeat is None or not repeat.bound.is_current:
        return None
    bound = repeat.bound
    outputs = whole(model, lambda: bound.repeat(repeat.prediction, (x,)))
    return bound.reading.outputs.pack(outputs)


def _kind(x: np.ndarray) -> tuple[Any, ...]:
    return x.shape, x.dtype


def _is_like(x: Any, read: np.ndarray) -> bool:
    """Whether a Program reads ``x`` with its own shape and dtype."""
    return type(x) is np.ndarray and _kind(x) == _kind(read)
