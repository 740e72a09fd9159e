"""Several Python threads at once, on one model or each on its own: what they find is looked at."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convmill import models
from tests.threads import together

FAR = 1e4  # labels, which no number of steps reaches
STEPS = {0: 1, 2: 4}  # that each method makes, by its number below


def same_model(model: Any, threads: int, rounds: int) -> None:
    """All methods on one ``counter``, by turns in each thread: no step is lost, and every answer is
    that of weights between two steps."""
    model.set_weights([np.zeros((1, 1), np.float32)])
    before = int(model.optimizer.iterations.numpy())
    x, y = np.ones((32, 1), np.float32), np.full((32, 1), FAR, np.float32)

    def answer(found: np.ndarray) -> None:
        np.testing.assert_array_equal(found, np.full((32, 1), found[0, 0]))
        assert found[0, 0] == round(float(found[0, 0]))

    def work(first: int) -> None:
        for number in range(first, first + rounds):
            match number % 5:
                case 0:
                    model.train_on_batch(x, y)
                case 1:
                    answer(model.predict(x, verbose=0))
                case 2:
                    model.fit(x, y, batch_size=8, verbose=0)
                case 3:
                    loss, error = model.evaluate(x, y, verbose=0)
                    assert loss == error
                    assert loss <= FAR
                case 4:
                    answer(np.asarray(model.predict_on_batch(x)))

    together(*(lambda first=first: work(first) for first in range(threads)))
    made = sum(
        STEPS.get(number % 5, 0)
        for first in range(threads)
        for number in range(first, first + rounds)
    )
    assert model.get_weights()[0].item() == made
    assert int(model.optimizer.iterations.numpy()) == before + made


def different_models(threads: int, epochs: int) -> None:
    """Each thread trains a model of its own, and asks it: with the bits that it has alone."""
    rng = np.random.default_rng(0)
    x = rng.random((48, 8, 8, 1), np.float32)
    y = rng.integers(0, 3, 48)

    def trained(seed: int) -> list[np.ndarray]:
        model = models.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(3, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        start = np.random.default_rng(seed)
        model.set_weights([start.standard_normal(one.shape) / 4 for one in model.weights])
        model.compile("adam", "sparse_categorical_crossentropy")
        for _ in range(epochs):
            model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
            model.predict(x, verbose=0)
        return [*model.get_weights(), model.predict(x, verbose=0)]

    alone = [trained(seed) for seed in range(threads)]
    found: dict[int, list[np.ndarray]] = {}

    def work(seed: int) -> None:
        found[seed] = trained(seed)

    together(*(lambda seed=seed: work(seed) for seed in range(threads)))
    for seed, expected in enumerate(alone):
        for one, other in zip(found[seed], expected, strict=True):
            np.testing.assert_array_equal(one, other)
