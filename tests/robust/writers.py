"""Processes that write for ever, to be killed: ``python -m tests.robust.writers KIND FOLDER``.

Each says when it has written for the first time. What it writes can be told to be whole.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 200_000


def files(folder: Path) -> Callable[[int], None]:
    """One file, of one byte over and over."""
    from convmill import storage

    return lambda number: storage.write(
        folder / "file", lambda file: file.write(bytes([number % 256]) * SIZE)
    )


def checkpoints(folder: Path) -> Callable[[int], None]:
    """Checkpoints, the last two of which stay."""
    from convmill.train.checkpoint.folder import Folder

    kept = Folder(folder, 2)
    kept.take()

    def write(number: int) -> None:
        kept.write({"number": number, "array": np.full(SIZE, number)})

    return write


def _saved(folder: Path, name: str) -> Callable[[int], None]:
    import keras

    from convmill import models

    model = models.Sequential([keras.Input((100,)), keras.layers.Dense(300)])

    def write(number: int) -> None:
        model.set_weights([np.full(one.shape, number) for one in model.weights])
        save: Any = model.save_weights if name.endswith(".weights.h5") else model.save
        save(folder / name)

    return write


def model_files(folder: Path) -> Callable[[int], None]:
    """A model, whose weights are all the same number."""
    return _saved(folder, "net.keras")


def weight_files(folder: Path) -> Callable[[int], None]:
    """Weights, all the same number."""
    return _saved(folder, "net.weights.h5")


KINDS = {"files": files, "checkpoints": checkpoints, "models": model_files, "weights": weight_files}


if __name__ == "__main__":
    write = KINDS[sys.argv[1]](Path(sys.argv[2]))
    write(0)
    print("written", flush=True)
    for number in itertools.count(1):
        write(number)
