"""The learning rates of the steps to come."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras.optimizers import schedules

from convmill.train.compilation.schedules import rates_of
from convmill.train.compilation.slots import read_iterations
from convmill.train.loaded import snapshot

# A learning rate above this is a slip of the pen, and the weights would be lost at once.
LARGEST_RATE = 1e6


def learning_rates(optimizer: Any, steps: int, first: int | None = None) -> np.ndarray:
    """Learning rates of the next ``steps`` steps: float64 (steps,).

    ``first`` is how many steps there were before, None for as many as the optimizer says.

    Raises:
        ValueError: a rate is NaN, negative or above ``LARGEST_RATE``.
    """
    # The property ``learning_rate`` gives a schedule's value, not the schedule.
    schedule = optimizer._learning_rate
    first = read_iterations(optimizer) if first is None else first
    if isinstance(schedule, schedules.LearningRateSchedule):
        values = _scheduled(schedule, np.arange(first, first + steps, dtype=np.int32))
    elif isinstance(schedule, keras.Variable):
        values = np.full(steps, float(np.asarray(snapshot(schedule))))
    else:
        values = _called(optimizer, range(first, first + steps))
    wrong = np.flatnonzero(~((values >= 0) & (values <= LARGEST_RATE)))
    if len(wrong):
        raise ValueError(
            f"learning_rate must be a number in [0, {LARGEST_RATE:g}]. "
            f"Received: learning_rate={values[wrong[0]]:g}"
        )
    return values


def rate_variable(optimizer: Any) -> Any:
    """The variable that holds the learning rate of every step; None where there is no such one."""
    rate = optimizer._learning_rate
    return rate if isinstance(rate, keras.Variable) else None


def _called(optimizer: Any, steps: Iterable[int]) -> np.ndarray:
    """What a learning rate that is a function says at ``steps``, where it may look at how many
    steps the optimizer has made."""

    def at(step: int) -> float:
        now = keras.ops.convert_to_tensor(step, optimizer._iterations.dtype)
        with keras.StatelessScope(state_mapping=[(optimizer._iterations, now)]):
            return float(keras.ops.convert_to_numpy(optimizer.learning_rate))

    return np.array([at(step) for step in steps], np.float64)


# By id, the schedules seen to give the same values for a vector of steps as for single steps.
_VECTORIZE: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def _scheduled(schedule: Any, steps: np.ndarray) -> np.ndarray:
    """Values of ``schedule`` at ``steps``: in one call where that agrees with single calls.

    Keras' own schedules are read, not called. A call of others takes from one millisecond to
    hundreds (schedules that branch), whether for one step or for a thousand. A schedule written in
    plain Python cannot take a vector; it is called for each step, and is fast.
    """
    if not len(steps):
        return np.zeros(0)
    known = rates_of(schedule, steps)
    if known is not None:
        return known

    def at(step: Any) -> float:
        return float(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(step))))

    try:
        mapped = keras.ops.vectorized_map(schedule, keras.ops.convert_to_tensor(steps))
        values = np.array(keras.ops.convert_to_numpy(mapped), dtype=np.float64)
    except Exception:  # whatever the schedule's operations raise for a vector
        return np.array([at(step) for step in steps])
    if _VECTORIZE.get(id(schedule)) is not schedule:
        probes = np.unique([0, len(steps) // 2, len(steps) - 1])
        if not np.allclose(values[probes], [at(steps[probe]) for probe in probes], rtol=1e-6):
            return np.array([at(step) for step in steps])
        _VECTORIZE[id(schedule)] = schedule
    return values
