"""A chain of Keras layers, compiled, held against Keras on JAX: predictions, losses, gradients."""

from __future__ import annotations

from typing import Any

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
from tests.engine.reference import assign, gradients

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
    values = [_drawn(rng, one.shape, spread) for one in graph.parameters]
    assign(reading, values)
    recipe = recipe_of("mean_squared_error")
    sample = data(rng, graph, recipe.loss, count, count)
    program = program_of(graph, recipe, values, machine=WIDTHS[width], guard=GUARD)
    outputs = poisoned(count, graph)
    with fenced():
        record = program.train(sample.batches, np.zeros(1), outputs=outputs)
        predictions = program.predict(sample.x)
    assert_intact(program)
    each, found = gradients(model, values, sample.x, sample.y, mean_squared_error)
    exact = np.asarray(model(sample.x))
    assert_near(predictions, exact, "predictions", tolerance)
    assert_near(outputs, exact[sample.order], "predictions of the training pass", tolerance)
    assert_near(record.loss, each[sample.order], "losses", 10 * tolerance)
    trained = [index for index, one in enumerate(graph.parameters) if one.trainable]
    for index, ours in zip(trained, program.get_gradients(), strict=True):
        theirs = found[index]
        if np.linalg.norm(theirs) < 1e-9:
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        else:
            assert_near(ours, theirs, f"gradient of {graph.parameters[index].name}", 10 * tolerance)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], spread: float | None) -> np.ndarray:
    fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 4
    size = fan_in**-0.5 if spread is None else spread
    return (rng.standard_normal(shape) * size).astype(np.float32)
