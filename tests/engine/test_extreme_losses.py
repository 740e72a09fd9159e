"""Losses of outputs at the ends of what float32 holds: values and slopes as in float64 where these
fit into float32."""

from __future__ import annotations

import numpy as np
import pytest

from convmill.plan.recipe import Loss
from convmill.runtime.batches import Batches
from tests.engine.nearest import in_float32
from tests.engine.nets import dense, graph_of, program_of, recipe_of
from tests.twin import net as twin

CLASSES = 5
CLOSE = 2e-6
SIZES = (0.0, 1e-30, 1e-10, 1.0, 20.0, 88.5, 110.0, 1e4, 1e10, 1e18, 1e25, 1e30, 5e37)

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
