"""Numbers at the ends of what float32 holds: as in float64 where that fits into float32, else as
Keras has it in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
import pytest
from keras import layers

from convmill.plan.recipe import Clip, Loss, Optimizer, OptimizerName
from convmill.runtime.batches import Batches
from convmill.runtime.program import Program
from tests.engine.nets import dense, graph_of, program_of, recipe_of
from tests.engine.reference import model_of
from tests.engine.test_optimizers import VARIANTS, keras_slots, keras_state
from tests.twin import net as twin

Arrays = Sequence[np.ndarray]


CLASSES = 5
CLOSE = 2e-6
SIZES = (0.0, 1e-30, 1e-10, 1.0, 20.0, 88.5, 110.0, 1e4, 1e10, 1e18, 1e25, 1e30, 5e37)


def in_float32(exact: np.ndarray) -> np.ndarray:
    """The float32 that is nearest: infinite where it must be, and zero for denormal numbers."""
    with np.errstate(over="ignore"):
        found = np.asarray(exact, np.float64).astype(np.float32)
    return np.where(np.abs(found) < np.finfo(np.float32).tiny, np.float32(0), found)


# Losses ------------------------------------------------------------------------------------------


LOSSES: list[tuple[Loss, str]] = [
    (Loss("categorical_crossentropy"), "softmax"),
    (Loss("categorical_crossentropy", from_logits=True), "linear"),
    (Loss("sparse_categorical_crossentropy", from_logits=True), "linear"),
    (Loss("sparse_categorical_crossentropy"), "softmax"),
    (Loss("categorical_crossentropy"), "relu"),  # outputs that add up to anything
    (Loss("categorical_focal_crossentropy"), "softmax"),
    (Loss("categorical_focal_crossentropy", from_logits=True), "linear"),
    (Loss("categorical_focal_crossentropy"), "relu"),
    (Loss("binary_crossentropy"), "sigmoid"),
    (Loss("binary_crossentropy", from_logits=True), "linear"),
    (Loss("binary_focal_crossentropy", from_logits=True), "linear"),
    *[(Loss(name), "linear") for name in (
        "mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "hinge",
        "squared_hinge", "categorical_hinge")],
]  # fmt: skip


def is_of_shares(loss: Loss, activation: str) -> bool:
    """Whether a loss asks how far a probability is from one: less than float32 can say."""
    return activation == "sigmoid" or loss.name == "binary_focal_crossentropy"


def is_held(loss: Loss, activation: str, size: float) -> bool:
    """Whether float32 holds what the loss asks for; zeros have no shares."""
    if activation == "relu":
        return size > 0
    return not (is_of_shares(loss, activation) and 10 < size < 1e6)


def rows_of(size: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of numbers of about that size, and one of equal ones."""
    rows = rng.standard_normal((4, CLASSES)) / 4 * size
    rows[-1] = size
    return rows.astype(np.float32)


@pytest.mark.parametrize(("loss", "activation"), LOSSES, ids=str)
def test_losses_of_outputs_of_all_sizes(loss: Loss, activation: str) -> None:
    """Probabilities that are 0 or 1, infinite losses: values and gradients."""
    graph, recipe = graph_of((CLASSES,), dense(CLASSES, activation)), recipe_of(loss)
    values = [np.eye(CLASSES, dtype=np.float32), np.zeros(CLASSES, np.float32)]
    program = program_of(graph, recipe, values, threads=1)
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 4).astype(np.int32)
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    y = labels if loss.sparse else one_hot * 2 - 1 if loss.name.endswith("hinge") else one_hot
    for size in SIZES:
        if not is_held(loss, activation, size):
            continue
        x = np.abs(rows_of(size, rng)) if activation == "relu" else rows_of(size, rng)
        for row in range(4):
            program.set_parameters(values)  # no step leaves them, but one of infinite gradients
            batch = Batches(x, np.array([row]), 1, y)
            found = program.train(batch, np.zeros(1)).loss
            with np.errstate(all="ignore"):
                exact, slopes = twin.gradients(
                    graph, recipe, values, x[[row]].astype(np.float64), y[[row]]
                )
            told = f"{size}, row {row}"
            near(found, exact, told, 0.2 if is_of_shares(loss, activation) else CLOSE)
            near(program.get_gradients()[1], slopes[1], f"gradient of {told}")


def near(found: np.ndarray, exact: np.ndarray, told: str, close: float = CLOSE) -> None:
    np.testing.assert_allclose(found, in_float32(exact), rtol=2e-5, atol=close, err_msg=told)


# Optimizers --------------------------------------------------------------------------------------


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


# Normalizations ----------------------------------------------------------------------------------


NORMALIZATIONS = {  # the axes over which a value's mean and deviation are taken, batch and all
    "batch": (lambda: layers.BatchNormalization(), (0, 1, 2)),
    "batch, activation": (lambda: layers.BatchNormalization(), (0, 1, 2)),
    "layer": (lambda: layers.LayerNormalization(), (3,)),
    "image": (lambda: layers.LayerNormalization(axis=(1, 2, 3)), (1, 2, 3)),
    "group": (lambda: layers.GroupNormalization(1), (1, 2, 3)),
}


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization_of_values_that_are_alike(name: str, images: int) -> None:
    """All of them equal, or away from one another by little beside what they are: nothing is lost,
    which Keras' own formula loses. Backwards as well, and in the moving means."""
    make, axes = NORMALIZATIONS[name]
    size, rng = (3, 7, 3), np.random.default_rng(5)
    relu = [layers.ReLU()] if "activation" in name else []
    _, reading = model_of(size, make(), *relu)
    values = [(rng.random(one.shape) + 0.5).astype(np.float32) for one in reading.variables]
    gamma, beta = values[:2]
    program = program_of(reading.graph, recipe_of(Loss("mean_squared_error")), values)
    for center in (0.0, 0.1, 1e4, 3e7, 1e18, 1e30, 1e38):
        for spread in (0.0, 0.01):
            far = 1 + spread * rng.standard_normal((images, *size))
            x = np.asarray(center * far, np.float32)
            program.set_parameters(values)
            y = np.zeros_like(x)
            outputs = np.zeros_like(x)
            order = np.arange(images)
            program.train(Batches(x, order, images, y), np.zeros(1), outputs=outputs)
            wide = x.astype(np.float64)
            away = wide - wide.mean(axis=axes, keepdims=True)
            deviation = np.sqrt((away**2).mean(axis=axes, keepdims=True) + 1e-3)
            if center > 1e18 and spread:
                continue  # squares of what is away are infinite
            normal = away / deviation
            exact = gamma * normal + beta
            exact = np.maximum(exact, 0) if relu else exact
            told = f"{center}, {spread}"
            close = 1e-3 if spread else 1e-6
            np.testing.assert_allclose(outputs, exact, rtol=1e-5, atol=close, err_msg=told)
            slopes = 2 * exact / exact.size
            by_gamma = slopes * normal
            over = tuple(range(4 - gamma.ndim))
            found = program.get_gradients()
            for ours, theirs in zip(found, (by_gamma, slopes), strict=True):
                np.testing.assert_allclose(ours, theirs.sum(axis=over), rtol=2e-3, atol=1e-3)
            if "batch" in name:
                moved = 0.99 * values[2] + 0.01 * wide.mean(axis=axes)
                np.testing.assert_allclose(program.get_parameters()[2], moved, rtol=1e-5)
