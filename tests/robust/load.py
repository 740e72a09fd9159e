"""Work over and over in one process, and what the process then holds: the long form of
``test_load.py``, for ``make load``.

Each kind of work is done some times to warm up, and then many times more. Memory that is resident,
threads and open files are counted before and after: they are to stay as they are. Some kinds look
at their results as well.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill import models
from tests.robust.crowd import different_models, same_model
from tests.robust.server import answers
from tests.train.nets import counter

GROWTH = 0.01  # of resident memory, at most
# The same where each call makes models: JAX keeps some kilobytes of each function that it traces.
GROWTH_OF_MODELS = 0.03
WARM = 0.1  # of all calls; memory is not looked at before they are made
SHAPE = (12, 12, 1)
Work = Callable[[], object]  # does it once


@dataclass(frozen=True)
class Held:
    """What a process holds: ``resident`` memory in bytes, ``threads`` of the system, open
    ``files``, and Python's ``objects`` that the garbage collector knows."""

    resident: int
    threads: int
    files: int
    objects: int


def held() -> Held:
    """What this process holds now (Linux); memory that is free goes back to the system first."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads, files = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
    return Held(pages * os.sysconf("SC_PAGE_SIZE"), threads, files, len(gc.get_objects()))


def net(filters: int = 4) -> Any:
    """A convnet of ours, compiled."""
    model = models.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(0)
    return rng.random((count, *SHAPE), np.float32), rng.integers(0, 3, count)


# Kinds of work -----------------------------------------------------------------------------------


def predict() -> Work:
    """``predict`` of numbers of images that change."""
    model, (x, _), sizes = net(), data(), itertools.cycle((1, 7, 64, 32))
    return lambda: model.predict(x[: next(sizes)], verbose=0)


def predict_on_batch() -> Work:
    """``predict_on_batch``."""
    model, (x, _) = net(), data(8)
    return lambda: model.predict_on_batch(x)


def evaluate() -> Work:
    """``evaluate``."""
    model, (x, y) = net(), data()
    return lambda: model.evaluate(x, y, verbose=0)


def train_on_batch() -> Work:
    """``train_on_batch``."""
    model, (x, y) = net(), data(16)
    return lambda: model.train_on_batch(x, y)


def fit() -> Work:
    """``fit`` of two epochs, with validation."""
    model, (x, y) = net(), data()
    return lambda: model.fit(x, y, epochs=2, batch_size=16, validation_data=(x, y), verbose=0)


def drop_equal() -> Work:
    """A model made, trained, asked and dropped: like all others."""
    return lambda: _use(net())


def drop_others() -> Work:
    """A model made, trained, asked and dropped, unlike the ones before; after four of them native
    code is forgotten, and all are compiled anew. (JAX, which draws first weights, keeps what it has
    compiled for each shape, and knows them.)"""
    from convmill.runtime import jit

    filters = itertools.cycle(range(1, 5))

    def work() -> None:
        number = next(filters)
        if number == 1:
            jit.forget()
        _use(net(number))

    return work


def _use(model: Any) -> None:
    x, y = data()
    model.fit(x, y, batch_size=16, verbose=0)
    model.predict(x, verbose=0)


def one_model(threads: int) -> Work:
    """Threads that use one model, by turns with all methods."""
    model = counter(models.Sequential)
    return lambda: same_model(model, threads, 10)


def requests() -> Work:
    """Eight clients that ask a server, twenty times each."""
    model, (x, _) = net(), data()
    return lambda: answers(model, x, 8, 20)


# How many times each in the long form.
KINDS: dict[str, tuple[Callable[[], Work], int]] = {
    "predict": (predict, 100_000),
    "predict_on_batch": (predict_on_batch, 100_000),
    "evaluate": (evaluate, 10_000),
    "train_on_batch": (train_on_batch, 10_000),
    "fit": (fit, 500),
    **{f"one model, {n} threads": (partial(one_model, n), 200) for n in (2, 4, 8)},
    "requests": (requests, 200),
    "equal models": (drop_equal, 1_000),
    "other models": (drop_others, 200),
    **{
        f"{n} models, {n} threads": (lambda n=n: partial(different_models, n, 3), 100)
        for n in (2, 4, 8)
    },
}


def load(kind: str, times: int) -> tuple[Held, Held]:
    """What the process holds behind the warm-up, and behind all of the work."""
    work = KINDS[kind][0]()
    warm = max(int(times * WARM), 10)
    for _ in range(warm):
        work()
    before = held()
    for _ in range(times - warm):
        work()
    return before, held()


def main() -> None:
    """Does all kinds of work, and says what the process held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the counts, 1 if not given")
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    told = parser.parse_args()
    grown = False
    for kind in told.kinds or KINDS:
        times = max(int(KINDS[kind][1] * told.share), 20)
        began = time.monotonic()
        before, after = load(kind, times)
        growth = after.resident / before.resident - 1
        print(
            f"{kind}, {times:,} times: {before.resident / 1e6:.1f} MB -> "
            f"{after.resident / 1e6:.1f} MB ({growth:+.2%}), threads {before.threads} -> "
            f"{after.threads}, files {before.files} -> {after.files}; "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
        most = GROWTH_OF_MODELS if "models" in kind else GROWTH
        grown |= growth > most or (after.threads, after.files) > (before.threads, before.files)
    sys.exit(int(grown))


if __name__ == "__main__":
    main()
