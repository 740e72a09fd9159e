"""Multiply-adds, parameters and bytes of a Plan, counted by hand."""

from __future__ import annotations

import math

from keras import layers

from convmill.plan.costs import costs
from convmill.plan.read import read
from tests.plan.nets import sequential


def test_costs_count_every_place_and_no_input_gradient_for_the_first_layer() -> None:
    plan = read(
        sequential(
            layers.MaxPooling2D(2),
            layers.Conv2D(3, (2, 1), use_bias=False),
            layers.Flatten(),
            layers.Dense(5),
            shape=(6, 8, 2),
        )
    ).plan
    pool, convolution, flat, dense = list(costs(plan).values())[1:]
    assert (pool.forward, pool.training, pool.parameters) == (0, 0, 0)
    assert pool.output_bytes == flat_bytes(3, 4, 2)
    assert convolution.forward == (2 * 4 * 3) * (2 * 1 * 2)
    assert convolution.training == 2 * convolution.forward
    assert convolution.parameters == 2 * 1 * 2 * 3
    assert flat.output_bytes == flat_bytes(2, 4, 3)
    assert dense.forward == 24 * 5
    assert dense.training == 3 * dense.forward
    assert dense.parameters == 24 * 5 + 5


def flat_bytes(*shape: int) -> int:
    return 4 * math.prod(shape)
