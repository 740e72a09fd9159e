"""Keras' own learning rate schedules, in NumPy.

Called once, a schedule of Keras' has XLA compile each of its operations: a second or more for one
with a warm-up, and more than a whole short training takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.optimizers import schedules

# Of a schedule, and steps in its dtype.
Formula = Callable[[Any, np.ndarray], np.ndarray]


def rates_of(schedule: Any, steps: np.ndarray) -> np.ndarray | None:
    """Learning rates at ``steps``, integers (n,): float64 (n,), with the precision that Keras
    computes in. None where only the schedule itself can tell."""
    formula = FORMULAS.get(type(schedule))
    if formula is None or not all(map(_is_plain, vars(schedule).values())):
        return None
    if not isinstance(schedule.initial_learning_rate, float):
        return None  # Keras computes in the dtype of that one: with whole numbers
    steps = steps.astype(keras.config.floatx())
    with np.errstate(all="ignore"):  # a rate that is no number is refused by who asked for it
        return formula(schedule, steps).astype(np.float64)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, float | int | str)


def _cosine(schedule: Any, steps: np.ndarray) -> np.ndarray:
    first, target, warm_up = (
        schedule.initial_learning_rate,
        schedule.warmup_target,
        schedule.warmup_steps,
    )
    if target is None:
        target, warm_up = first, 0
    share = np.clip(steps - warm_up, 0, schedule.decay_steps) / schedule.decay_steps
    alpha = schedule.alpha
    falling = target * ((1 - alpha) * 0.5 * (1 + np.cos(math.pi * share)) + alpha)
    rising = first + (target - first) * steps / max(warm_up, 1)
    return np.where(steps < warm_up, rising, falling)


def _decayed(schedule: Any, steps: np.ndarray) -> np.ndarray:
    share = steps / schedule.decay_steps
    return np.floor(share) if schedule.staircase else share


def _exponential(schedule: Any, steps: np.ndarray) -> np.ndarray:
    return np.asarray(
        schedule.initial_learning_rate * schedule.decay_rate ** _decayed(schedule, steps)
    )


def _inverse_time(schedule: Any, steps: np.ndarray) -> np.ndarray:
    return np.asarray(
        schedule.initial_learning_rate / (1 + schedule.decay_rate * _decayed(schedule, steps))
    )


def _polynomial(schedule: Any, steps: np.ndarray) -> np.ndarray:
    last = schedule.decay_steps
    whole = last * np.maximum(np.ceil(steps / last), 1) if schedule.cycle else last
    rest = 1 - np.minimum(steps, whole) / whole
    end = schedule.end_learning_rate
    return np.asarray((schedule.initial_learning_rate - end) * rest**schedule.power + end)


FORMULAS: Mapping[type, Formula] = {
    schedules.CosineDecay: _cosine,
    schedules.ExponentialDecay: _exponential,
    schedules.InverseTimeDecay: _inverse_time,
    schedules.PolynomialDecay: _polynomial,
}
