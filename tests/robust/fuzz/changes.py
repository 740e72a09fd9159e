"""Arrays that change while ``fit`` runs: in a callback, or by another thread.

Whatever is written there, training goes on with it, or ends in words; the model stays usable, and
no memory is read but that of the arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tests.robust.fuzz.outcomes import RIGHT, Result, expect, refused

HOOKS = ("on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_test_end")
WILD = (0.0, 1.0, -1.0, 1.5, 3.0, 200.0, 1e30, np.nan, np.inf)


def _written(array: np.ndarray, value: float) -> None:
    with np.errstate(all="ignore"):
        array[...] = np.asarray(value).astype(array.dtype)


def _reshaped(array: np.ndarray) -> None:
    array.shape = (-1,)


def _of_bytes(array: np.ndarray) -> None:
    array.dtype = "u1"


CHANGES: dict[str, Callable[[np.ndarray, float], None]] = {
    "numbers": _written,
    "shape": lambda array, _: _reshaped(array),
    "dtype": lambda array, _: _of_bytes(array),
    "shorter": lambda array, _: array.resize((1, *array.shape[1:]), refcheck=False),
    "longer": lambda array, _: array.resize((999, *array.shape[1:]), refcheck=False),
    "read-only": lambda array, _: array.setflags(write=False),
}


def changed(subject: Any, rng: np.random.Generator) -> Result:
    """One ``fit`` in which an array changes."""
    x, y = subject.draw(rng, 16)
    arrays = [one.astype(str(rng.choice(("<f4", "<f8", "u1", "<i4", "<f2")))) for one in [*x, *y]]
    array, value = arrays[rng.integers(len(arrays))], float(rng.choice(WILD))
    name, hook = str(rng.choice(list(CHANGES))), str(rng.choice(HOOKS))
    by_thread = bool(rng.random() < 0.3)
    what = "fit: numbers of another thread's" if by_thread else f"fit: another {name}"
    callback = keras.callbacks.Callback()
    if not by_thread:
        setattr(callback, hook, lambda *_, **__: CHANGES[name](array, value))
    given = [one[0] if len(one) == 1 else one for one in (arrays[: len(x)], arrays[len(x) :])]
    options = {"batch_size": 4, "epochs": 3, "validation_data": tuple(given), "verbose": 0}
    result = Result(what, RIGHT)
    with _writing(array, rng) if by_thread else _nothing():
        try:
            subject.ours.fit(*given, callbacks=[callback], **options)
        except Exception as error:
            if "resize" not in str(error):  # which NumPy refuses in the callback itself
                result = refused(error, what, f"{subject.name}, {name}={value} in {hook}")
    subject.reset()
    expected = subject.keras.predict_on_batch(x[0] if len(x) == 1 else x)
    found = subject.ours.predict_on_batch(x[0] if len(x) == 1 else x)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        expect(np.allclose(one, other, 1e-4, 1e-4), f"{what}: another model behind it")
    return result


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _writing(array: np.ndarray, rng: np.random.Generator) -> Iterator[None]:
    """Within, another thread writes into an array without end."""
    done, flat = threading.Event(), array.reshape(-1)
    values = rng.choice(WILD, 100)

    def write() -> None:
        place = 0
        while not done.is_set():
            _written(flat[place % len(flat) :][:1], values[place % len(values)])
            place += 7

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
