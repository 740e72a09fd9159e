"""Steps of optimizers by gradients at the ends of what float32 holds: as in float64 where that fits
into float32, else as Keras has it in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
import pytest

from convmill.plan.recipe import Clip, Loss, Optimizer, OptimizerName
from convmill.runtime.batches import Batches
from convmill.runtime.program import Program
from tests.engine.nearest import in_float32
from tests.engine.nets import dense, graph_of, program_of, recipe_of
from tests.engine.test_optimizers import VARIANTS, keras_slots, keras_state
from tests.twin import net as twin

Arrays = Sequence[np.ndarray]

GRAPH = graph_of((2,), dense(3, "linear"))
VALUES = [np.array([[0.5, -0.4, 0.3], [-0.2, 0.1, 0.6]], np.float32), np.zeros(3, np.float32)]
LINE = Loss("mean_absolute_error", reduction="sum")
X = np.array([[0.5, -2.0], [1.5, 0.25]], np.float32)
Y = np.array([[1, -1, 3], [2, 4, -3]], np.float32) * 1e3  # far away: slopes keep their signs


def stepped(optimizer: Optimizer, slopes: float, steps: int, **options: Any) -> Program:
    """A Program behind steps whose gradients are of about that size."""
    program = program_of(GRAPH, recipe_of(LINE, optimizer), VALUES, threads=1)
    order = np.arange(2 * steps) % 2
    weight = np.full(2, slopes, np.float32)
    program.train(Batches(X, order, 2, Y, weight), np.full(steps, 0.01), **options)
    return program


def exact_steps(optimizer: Optimizer, slopes: float, steps: int, before: int = 0) -> Arrays:
    """The weights behind the same steps, in float64."""
    recipe = recipe_of(LINE, optimizer)
    state = replace(twin.start(GRAPH, recipe, VALUES), iterations=before)
    for _ in range(steps):
        state, _ = twin.step(GRAPH, recipe, state, 0.01, X, Y, np.full(2, slopes))
    return state.parameters


def assert_moved_alike(program: Program, exact: Arrays) -> None:
    """The same ways from the first weights."""
    for first, ours, theirs in zip(VALUES, program.get_parameters(), exact, strict=True):
        np.testing.assert_allclose(ours - first, theirs - first, rtol=1e-4, atol=2e-7)


CORRECTED = ("adam", "adamax", "nadam", "schedule_free_adam")


@pytest.mark.parametrize("name", CORRECTED)
def test_corrections_after_ten_million_steps(name: OptimizerName) -> None:
    """What corrects the first steps has become one, and is no zero over zero."""
    optimizer, before = Optimizer(name, amsgrad=name == "adam"), 10_000_000
    if name == "nadam":
        before //= 100  # the twin multiplies momenta; they have come to nothing long before
    product = 0.0 if name == "nadam" else None
    program = stepped(optimizer, 0.25, 3, iterations=before, product=product)
    assert_moved_alike(program, exact_steps(optimizer, 0.25, 3, before))


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12, 1e22, 1e30, 1e37])
@pytest.mark.parametrize("kind", ["norm", "global_norm"])
def test_norms_of_gradients_of_all_sizes(kind: Literal["norm", "global_norm"], size: float) -> None:
    """Their squares leave float32 on both sides; a step is as long as the limit allows."""
    optimizer = Optimizer("sgd", clip=Clip(kind, min(size, 0.5)))
    assert_moved_alike(stepped(optimizer, size, 2), exact_steps(optimizer, size, 2))


def test_a_norm_of_zero_clips_nothing() -> None:
    for kind in ("norm", "global_norm"):
        program = stepped(Optimizer("sgd", clip=Clip(kind, 0.5)), 0.0, 2)
        assert_moved_alike(program, VALUES)


def test_an_infinite_global_norm_is_not_hidden() -> None:
    """All weights are no numbers then, as in Keras, where one gradient is none."""
    program = stepped(Optimizer("sgd", clip=Clip("global_norm", 0.5)), math.inf, 1)
    assert all(np.isnan(one).all() for one in program.get_parameters())


HUGE = ("sgd momentum", "rmsprop momentum", "adam amsgrad", "adamax betas decay", "ftrl",
        "adadelta decay clipvalue", "lion betas decay", "schedule free warmup decay")  # fmt: skip


@pytest.mark.parametrize("size", [1e15, 1e30])
@pytest.mark.parametrize("variant", HUGE)
def test_huge_gradients_follow_the_optimizer_of_keras(variant: str, size: float) -> None:
    """Two steps; where their squares are infinite Keras' are as well, and what comes of that."""
    theirs, optimizer = VARIANTS[variant]
    recipe = recipe_of(LINE, optimizer)
    variables, theirs = keras_state(GRAPH, theirs, VALUES)
    program = program_of(GRAPH, recipe, VALUES, threads=1)
    program.set_slots(keras_slots(theirs, optimizer.slots))
    weight, rates = np.full(2, size, np.float32), np.full(2, 0.01)
    program.train(Batches(X, np.arange(4) % 2, 2, Y, weight), rates)
    for _ in range(2):
        _, found = twin.gradients(GRAPH, recipe, [one.numpy() for one in variables], X, Y, weight)
        theirs.learning_rate = 0.01
        theirs.apply([keras.ops.cast(in_float32(one), "float32") for one in found])
    for ours, one in zip(program.get_parameters(), variables, strict=True):
        np.testing.assert_allclose(ours, one.numpy(), rtol=1e-4, atol=1e-6)
