"""Processes killed at random moments while they write: what they leave is whole.

``python -m tests.robust.kills [--kills N] [--seed S]``, or ``make soak``, is the long form; it
prints how many were killed, by kind. The short one is ``test_kills.py``.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Start = Callable[..., "subprocess.Popen[Any]"]
LONGEST = 0.3  # seconds that a process writes


def kill(kind: str, folder: Path, chance: random.Random, start: Start = subprocess.Popen) -> None:
    """Starts a process that writes into a folder, and kills it at a moment that chance gives."""
    command = [sys.executable, "-m", "tests.robust.writers", kind, str(folder)]
    child = start(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "written\n"
    time.sleep(chance.uniform(0, LONGEST))  # any moment will do
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL


def check(kind: str, folder: Path) -> None:
    """What was left is whole, and what was half written goes with the next writing."""
    assert len(_unfinished(folder)) <= 1, os.listdir(folder)
    CHECKS[kind](folder)
    assert not _unfinished(folder), os.listdir(folder)


def _unfinished(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def _files(folder: Path) -> None:
    from convmill import storage
    from tests.robust.writers import SIZE

    content = (folder / "file").read_bytes()
    assert len(content) == SIZE
    assert len(set(content)) == 1
    storage.write(folder / "other", lambda file: file.write(b"x"))


def _checkpoints(folder: Path) -> None:
    from convmill.train.checkpoint.folder import Folder

    kept = Folder(folder, 2)
    kept.take()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none is damaged
        newest = kept.newest()
    assert newest is not None
    number = newest[1]["number"]
    assert (newest[1]["array"] == number).all()
    kept.write({"number": number, "array": np.full(3, number)})
    kept.leave()
    assert sum(name.startswith("checkpoint") for name in os.listdir(folder)) == 2


def _models(folder: Path) -> None:
    from convmill import models

    model = models.load_model(folder / "net.keras")
    _assert_equal(model)
    model.save(folder / "net.keras")


def _weights(folder: Path) -> None:
    import keras

    from convmill import models

    model = models.Sequential([keras.Input((100,)), keras.layers.Dense(300)])
    model.load_weights(folder / "net.weights.h5")
    _assert_equal(model)
    model.save_weights(folder / "net.weights.h5")


def _assert_equal(model: Any) -> None:
    assert len({float(value) for one in model.get_weights() for value in np.unique(one)}) == 1


CHECKS = {"files": _files, "checkpoints": _checkpoints, "models": _models, "weights": _weights}


def main() -> None:
    """Kills as many as are asked for, in turns of the kinds."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    counts = dict.fromkeys(CHECKS, 0)
    with tempfile.TemporaryDirectory() as place:
        for number in range(given.kills):
            kind = list(CHECKS)[number % len(CHECKS)]
            folder = Path(place) / kind
            folder.mkdir(exist_ok=True)
            kill(kind, folder, chance)
            check(kind, folder)
            counts[kind] += 1
    told = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
    print(f"{given.kills} processes killed, {told}: all that they left was whole.")


if __name__ == "__main__":
    main()
