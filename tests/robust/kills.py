"""Processes killed at random moments while they write: what they leave is whole.

``python -m tests.robust.kills [--kills N] [--seed S]``, or ``make soak``, is the long form; it
prints how many were killed, by kind. The short one is ``test_kills.py``.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

Start = Callable[..., "subprocess.Popen[Any]"]
LONGEST = 0.3  # seconds that a process writes, behind the first time
LONGER = {"studies": 1.5}
PATIENCE = 600  # seconds until all that a process has started must have ended as well


def kill(kind: str, folder: Path, chance: random.Random, start: Start = subprocess.Popen) -> None:
    """Starts a process that writes into a folder, and kills it at a moment that chance gives."""
    command = [sys.executable, "-m", "tests.robust.writers", kind, str(folder)]
    child = start(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "written\n"
    time.sleep(chance.uniform(0, LONGER.get(kind, LONGEST)))  # any moment will do
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=PATIENCE)  # workers hold the other end
    assert child.returncode == -signal.SIGKILL


def check(kind: str, folder: Path) -> None:
    """What was left is whole, and what was half written goes with the next writing."""
    assert len(_unfinished(folder)) <= 1, os.listdir(folder)
    CHECKS[kind](folder)
    assert not _unfinished(folder), os.listdir(folder)


def _unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


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


def _downloads(folder: Path) -> None:
    from convmill.data.download import Limits, download
    from convmill.data.sources import read_archive, read_arrays, read_file
    from tests.data.tiny import Server
    from tests.robust.writers import large_set

    tiny, patient = large_set(), Limits(answer_seconds=PATIENCE, silence_seconds=PATIENCE)
    if (folder / "tiny.npz").exists():
        read_archive(tiny.known, folder / "tiny.npz")
    for file in tiny.known.files:
        if (path := folder / "tiny" / f"{file.name}.gz").exists():
            read_file(file, path)
    server = Server()
    try:
        for mirror in (server.serve_npz(tiny.npz), server.serve_idx(tiny.packed)):
            known = tiny.with_mirrors(mirror)
            with redirect_stderr(io.StringIO()):  # its progress
                place = download(known, folder, patient)
            read_arrays(known, place)
    finally:
        server.stop()


def _studies(folder: Path) -> None:
    from convmill.study import experiment, store
    from tests.robust.writers import study_with_another_seed

    place = folder / "study"
    before = {path: path.read_bytes() for path in (place / "runs").glob("[!.]*")}
    assert not store.read_folder(place).kept.unread
    table = study_with_another_seed(folder)
    result, _ = experiment.carry_out(table, folder=place, workers=1, verbose=False)
    assert result.complete
    after = {path: path.read_bytes() for path in (place / "runs").iterdir()}
    assert len(after) == 2 * table["seeds"]
    assert before.items() < after.items()


def _code(folder: Path) -> None:
    from tests.robust.writers import Tuned

    tuned = Tuned()
    right = tuned.predicted()
    said = io.StringIO()
    with patch.dict(os.environ, CONVMILL_CACHE=str(folder)), redirect_stderr(said):
        assert tuned.recalled() in ({}, tuned.found())
        assert tuned.predicted() == right
        assert tuned.predicted() == right  # now it is there
        tuned.remember()
        assert tuned.recalled() == tuned.found()
    assert not said.getvalue()


CHECKS = {
    "files": _files,
    "checkpoints": _checkpoints,
    "models": _models,
    "weights": _weights,
    "downloads": _downloads,
    "studies": _studies,
    "code": _code,
}


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
