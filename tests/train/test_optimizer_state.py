"""Slots, steps and learning rates go from Keras' optimizer to arrays, and back."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers
from keras.optimizers import schedules

from convmill.plan.read import Reading, read
from convmill.plan.recipe import Recipe
from convmill.train.compilation.rates import learning_rates
from convmill.train.compilation.read_recipe import read_recipe
from convmill.train.compilation.slots import (
    read_iterations,
    read_product,
    read_slots,
    slot_variables,
    write_iterations,
    write_product,
    write_slots,
)
from tests.train.small import net

STATEFUL = [
    lambda: optimizers.SGD(momentum=0.9),
    lambda: optimizers.RMSprop(momentum=0.5, centered=True),
    lambda: optimizers.Adam(amsgrad=True),
    lambda: optimizers.Adam(learning_rate=schedules.ExponentialDecay(0.1, 10, 0.9)),
    optimizers.Adadelta,
    optimizers.Adagrad,
    optimizers.Adamax,
    optimizers.Nadam,
    optimizers.Ftrl,
    optimizers.Lion,
    optimizers.ScheduleFreeAdamW,
]


def compiled(model: keras.Model, optimizer: Any) -> tuple[Reading, Recipe]:
    model.compile(optimizer, "mse")
    reading = read(model)
    return reading, read_recipe(model, reading)


@pytest.mark.parametrize("make", STATEFUL)
def test_slots_are_the_optimizers_variables(make: Any) -> None:
    model, optimizer = net(), make()
    reading, found = compiled(model, optimizer)
    slots = read_slots(optimizer, reading, found)  # builds it
    assert tuple(slots) == found.optimizer.slots
    random = np.random.default_rng(1)
    filled = {
        slot: [random.random(one.shape, np.float32) for one in values]
        for slot, values in slots.items()
    }
    write_slots(slot_variables(optimizer, reading, found), filled)
    again = read_slots(optimizer, reading, found)
    for slot, values in filled.items():
        for weight, value, back in zip(model.weights, values, again[slot], strict=True):
            assert value.shape == tuple(weight.shape)
            np.testing.assert_array_equal(back, value)
            name = f"{weight.path.replace('/', '_')}_{slot}"
            (variable,) = [one for one in optimizer.variables if one.name == name]
            np.testing.assert_array_equal(variable.numpy(), value)
    write_iterations(optimizer, 7)
    assert read_iterations(optimizer) == 7


def test_slots_that_are_read_are_copies() -> None:
    model, optimizer = net(), optimizers.SGD(momentum=0.9)
    reading, found = compiled(model, optimizer)
    read_slots(optimizer, reading, found)["momentum"][0][:] = 5
    assert not read_slots(optimizer, reading, found)["momentum"][0].any()


def test_slots_of_another_shape_leave_the_optimizer_as_it_was() -> None:
    model, optimizer = net(), optimizers.SGD(momentum=0.9)
    reading, found = compiled(model, optimizer)
    values = [np.ones(one.shape, np.float32) for one in model.weights]
    values[-1] = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"shape \(3,\). Received: an array of shape \(4,\)"):
        write_slots(slot_variables(optimizer, reading, found), {"momentum": values})
    assert not read_slots(optimizer, reading, found)["momentum"][0].any()


def test_only_trainable_weights_have_slots() -> None:
    model, optimizer = net(), optimizers.Adam()
    model.layers[0].trainable = False
    reading, found = compiled(model, optimizer)
    slots = read_slots(optimizer, reading, found)
    assert [one.shape for one in slots["velocity"]] == [(8, 3), (3,)]
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match=r"other variables .* Received: no momentum for .*kernel"):
        read_slots(optimizer, read(model), found)


def test_the_product_of_nadam_and_of_no_other() -> None:
    optimizer = optimizers.Nadam()
    reading, found = compiled(net(), optimizer)
    read_slots(optimizer, reading, found)
    assert read_product(optimizer) == 1
    write_product(optimizer, 0.25)
    assert read_product(optimizer) == 0.25
    assert float(optimizer.variables[-1].numpy()) == 0.25  # as it is saved
    assert read_product(optimizers.Adam()) is None


def test_layers_frozen_after_the_optimizer_was_built() -> None:
    model, optimizer = net(), optimizers.SGD(momentum=0.9)
    reading, found = compiled(model, optimizer)
    numbers = [np.full(one.shape, index, np.float32) for index, one in enumerate(model.weights)]
    write_slots(slot_variables(optimizer, reading, found), {"momentum": numbers})
    model.layers[0].trainable = False
    slots = read_slots(optimizer, read(model), found)
    assert [one.flat[0] for one in slots["momentum"]] == [2, 3]


def test_weights_of_one_name_keep_their_order() -> None:
    """The optimizer calls the state of ``a_b/c`` and of ``a/b_c`` by one name."""
    parts = [("a_b", "c"), ("a", "b_c")]
    model = keras.Sequential(
        [keras.Input((4,))]
        + [keras.Sequential([layers.Dense(4, name=inner)], name=outer) for outer, inner in parts]
    )
    optimizer = optimizers.SGD(momentum=0.9)
    reading, found = compiled(model, optimizer)
    numbers = [np.full(one.shape, index, np.float32) for index, one in enumerate(model.weights)]
    write_slots(slot_variables(optimizer, reading, found), {"momentum": numbers})
    momenta = [one for one in optimizer.variables if "momentum" in one.name]
    assert momenta[0].name == momenta[2].name
    assert [one.numpy().flat[0] for one in momenta] == [0, 1, 2, 3]


# The learning rate -------------------------------------------------------------------------------


def test_a_plain_rate_is_constant() -> None:
    optimizer = optimizers.SGD(0.25)
    found = learning_rates(optimizer, 3)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [0.25] * 3)
    optimizer.learning_rate = 0.5
    np.testing.assert_array_equal(learning_rates(optimizer, 2), [0.5] * 2)
    assert learning_rates(optimizer, 0).shape == (0,)


class Stairs(schedules.LearningRateSchedule):
    """Plain Python, which takes no vector."""

    def __call__(self, step: Any) -> float:
        return 0.5 if int(step) < 8 else 0.25


class Moody(schedules.LearningRateSchedule):
    """Says something else when it is traced."""

    def __call__(self, step: Any) -> Any:
        rate = 0.5 if type(step).__name__.endswith("Tracer") else 0.25
        return keras.ops.cast(step, "float32") * 0 + rate


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.ExponentialDecay(0.1, 4, 0.5, staircase=True),
        schedules.PiecewiseConstantDecay([6, 9], [1.0, 0.5, 0.1]),
        schedules.CosineDecay(0.1, 20, warmup_steps=9, warmup_target=0.5),
        schedules.PolynomialDecay(0.1, 10, cycle=True),
        Stairs(),
        Moody(),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_are_followed_from_the_optimizers_step_on(schedule: Any) -> None:
    optimizer = optimizers.SGD(schedule)
    write_iterations(optimizer, 5)
    for _ in range(2):  # the second time by the shorter way
        expected = [float(schedule(keras.ops.convert_to_tensor(step))) for step in range(5, 12)]
        np.testing.assert_allclose(learning_rates(optimizer, 7), expected, rtol=1e-6)
    assert learning_rates(optimizer, 0).shape == (0,)
    assert read_iterations(optimizer) == 5


@pytest.mark.parametrize("rate", [math.nan, -0.1, 1e30, math.inf])
def test_rates_that_make_no_sense(rate: float) -> None:
    with pytest.raises(ValueError, match=r"learning_rate must .* Received: learning_rate="):
        learning_rates(optimizers.SGD(rate), 2)
    later = schedules.PiecewiseConstantDecay([3], [0.1, rate])
    with pytest.raises(ValueError, match=r"Received: learning_rate="):
        learning_rates(optimizers.SGD(later), 9)


def test_a_rate_that_is_a_function_is_asked_at_each_step() -> None:
    optimizer = optimizers.SGD(lambda: 0.1 / (1 + optimizer.iterations))
    write_iterations(optimizer, 2)
    np.testing.assert_allclose(learning_rates(optimizer, 3), [0.1 / 3, 0.1 / 4, 0.1 / 5], rtol=1e-6)
    assert read_iterations(optimizer) == 2
    given = iter([0.5, 0.25, 0.125])
    optimizer = optimizers.SGD(lambda: next(given))
    np.testing.assert_array_equal(learning_rates(optimizer, 3), [0.5, 0.25, 0.125])
    with pytest.raises(ValueError, match="Received: learning_rate=nan"):
        learning_rates(optimizers.SGD(lambda: math.nan), 1)
