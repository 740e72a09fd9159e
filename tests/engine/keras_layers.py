"""A chain of Keras layers, compiled, held against Keras on JAX: predictions, losses, gradients."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np

from convmill.plan.read import read
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    assert_intact,
    assert_near,
    data,
    poisoned,
    program_of,
    recipe_of,
)
from tests.engine.reference import assign

TOLERANCE = 5e-6  # both are float32


def mean_squared_error(y: Any, outputs: Any) -> Any:
    """Of each image, whatever the shape."""
    axes = tuple(range(1, len(outputs.shape)))
    return keras.ops.mean(keras.ops.square(y - outputs), axis=axes)


def follows_keras(
    model: Any,
    *,
    width: str = "16 lanes",
    count: int = 5,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    spread: float | None = None,
) -> None:
    """Weights are drawn; the model ends in one axis. ``spread`` scales all weights alike."""
    reading = read(model)
    graph, rng = reading.graph, np.random.default_rng(seed)
    pairs = zip(reading.variables, graph.parameters, strict=True)
    values = [_drawn(rng, one.shape, spread) if one.trainable else variable.numpy()
              for variable, one in pairs]  # fmt: skip
    assign(reading, values)
    recipe = recipe_of("mean_squared_error")
    sample = data(rng, graph, recipe.loss, count, count)
    program = program_of(graph, recipe, values, machine=WIDTHS[width], guard=GUARD)
    outputs = poisoned(count, graph)
    with fenced():
        record = program.train(sample.batches, np.zeros(1), outputs=outputs)
        predictions = program.predict(sample.x)
    assert_intact(program)
    exact, each, theirs = _by_keras(model, sample.x, sample.y)
    found = [theirs.get(id(variable), np.zeros(0)) for variable in reading.variables]
    assert_near(predictions, exact, "predictions", tolerance)
    assert_near(outputs, exact[sample.order], "predictions of the training pass", tolerance)
    assert_near(record.loss, each[sample.order], "losses", 10 * tolerance)
    trained = [index for index, one in enumerate(graph.parameters) if one.trainable]
    whole = float(sum(np.linalg.norm(found[index]) for index in trained))
    for index, ours in zip(trained, program.get_gradients(), strict=True):
        # what cancels out, as a bias before a mean that is taken away, is as inexact as its terms
        what = f"gradient of {graph.parameters[index].name}"
        assert_near(ours, found[index], what, 10 * tolerance, lambda: 0.1 * whole)


def _by_keras(model: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """Predictions and losses of all images, and the gradients of the losses' mean by each trained
    variable's id. One function, as XLA compiles it quicker than its hundred operations."""
    fixed = [variable.value for variable in model.non_trainable_variables]

    def objective(weights: Any) -> Any:
        outputs, _ = model.stateless_call(weights, fixed, x)
        each = mean_squared_error(y, outputs)
        return each.mean(), (outputs, each)

    weights = [variable.value for variable in model.trainable_variables]
    (_, (outputs, each)), found = jax.jit(jax.value_and_grad(objective, has_aux=True))(weights)
    pairs = zip(model.trainable_variables, found, strict=True)
    gradients = {id(variable): np.asarray(one) for variable, one in pairs}
    return np.asarray(outputs), np.asarray(each), gradients


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], spread: float | None) -> np.ndarray:
    fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 4
    size = fan_in**-0.5 if spread is None else spread
    return (rng.standard_normal(shape) * size).astype(np.float32)
