"""Work of a model in other processes: ``python -m tests.robust.processes KIND``.

The parent has trained first, so that its threads are there. Raises where a child finds anything
else than the parent.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from typing import Any

import joblib
import keras
import numpy as np

from convmill import models

Found = list[np.ndarray]
X = np.random.default_rng(0).random((20, 6, 6, 1), np.float32)
Y = np.arange(20) % 3


def net() -> Any:
    """A small convnet, trained a little."""
    model = models.Sequential(
        [
            keras.Input(X.shape[1:]),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    return model


def work(model: Any) -> Found:
    """Predictions, and weights behind more training."""
    before = model.predict(X, verbose=0)
    model.fit(X, Y, batch_size=5, shuffle=False, verbose=0)
    model.train_on_batch(X, Y)
    return [before, *model.get_weights(), model.predict(X, verbose=0)]


def fork(model: Any) -> list[Found]:
    """A model that children find in their memory; JAX and Python warn of the threads."""
    global _inherited
    _inherited = model
    warnings.simplefilter("ignore")
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        return pool.map(_of_inherited, range(2), chunksize=1)


_inherited: Any = None


def _of_inherited(_: int) -> Found:
    return work(_inherited)


def spawn(model: Any) -> list[Found]:
    """A model that is pickled."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(work, [model, model], chunksize=1)


def workers(model: Any) -> list[Found]:
    """joblib's processes."""
    return joblib.Parallel(n_jobs=2)(joblib.delayed(work)(model) for _ in range(3))


KINDS = {"fork": fork, "spawn": spawn, "joblib": workers}


if __name__ == "__main__":
    trained = net()
    results = KINDS[sys.argv[1]](trained)
    expected = work(trained)
    for result in results:
        for one, other in zip(result, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    print(len(results))
