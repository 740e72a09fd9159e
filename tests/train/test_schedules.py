"""Keras' schedules in NumPy, against Keras' own calls."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras.optimizers import schedules

from convmill.train.compilation.schedules import FORMULAS, rates_of

KNOWN = (
    schedules.CosineDecay(0.1, 20, alpha=0.1),
    schedules.CosineDecay(0.1, 20, warmup_steps=9, warmup_target=0.5),
    schedules.CosineDecay(0.1, 2, alpha=0.1, warmup_steps=7, warmup_target=0.5),
    schedules.CosineDecay(0.1, 5, warmup_steps=0, warmup_target=0.5),
    schedules.CosineDecay(0.1, 5, warmup_steps=3),
    schedules.ExponentialDecay(0.1, 4, 0.5),
    schedules.ExponentialDecay(0.1, 4, 0.5, staircase=True),
    schedules.InverseTimeDecay(0.1, 4, 0.5),
    schedules.InverseTimeDecay(0.1, 4, 0.5, staircase=True),
    schedules.PolynomialDecay(0.1, 7, power=2.0),
    schedules.PolynomialDecay(0.1, 4, cycle=True),
)


def test_rates_are_those_that_keras_computes() -> None:
    assert {type(schedule) for schedule in KNOWN} == set(FORMULAS)
    steps = [0, 1, 3, 4, 7, 8, 13, 40, 100_003]
    for schedule in KNOWN:
        rates = rates_of(schedule, np.array(steps, np.int32))
        assert rates is not None
        assert rates.dtype == np.float64
        expected = [float(schedule(keras.ops.convert_to_tensor(step))) for step in steps]
        np.testing.assert_allclose(
            rates, expected, rtol=1e-5, atol=1e-8, err_msg=str(schedule.get_config())
        )


class Halved(schedules.CosineDecay):
    """Another schedule than its base."""

    def __call__(self, step: Any) -> Any:
        return super().__call__(step) / 2


@pytest.mark.parametrize(
    "schedule",
    [
        Halved(0.1, 20),
        schedules.CosineDecay(keras.ops.convert_to_tensor(0.1), 20),
        schedules.CosineDecay(1, 20),  # computed in whole numbers
        schedules.PiecewiseConstantDecay([6, 9], [1.0, 0.5, 0.1]),
    ],
    ids=["derived", "a tensor", "whole numbers", "no formula"],
)
def test_other_schedules_are_asked(schedule: Any) -> None:
    assert rates_of(schedule, np.arange(3)) is None
