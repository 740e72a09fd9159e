"""Processes that write for ever, to be killed: ``python -m tests.robust.writers KIND FOLDER``.

Each says when it has written for the first time. What it writes can be told to be whole.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.tiny import Server, Tiny
from tests.study.tables import small

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


def downloads(folder: Path) -> Callable[[int], None]:
    """A data set from a server on loopback, as an archive and as a folder of files."""
    from convmill.data.download import Limits, download

    tiny, patient = large_set(), Limits(answer_seconds=600, silence_seconds=600)
    server = Server()
    mirrors = [server.serve_npz(tiny.npz), server.serve_idx(tiny.packed)]

    def write(number: int) -> None:
        for mirror in mirrors:
            known = tiny.with_mirrors(mirror)
            with redirect_stderr(io.StringIO()):  # its progress
                place = download(known, folder, patient)
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    return write


def large_set() -> Tiny:
    """The tiny set, of images that are not so tiny."""
    with tempfile.TemporaryDirectory() as place:
        return Tiny(Path(place), (200, 200))


def studies(folder: Path) -> Callable[[int], None]:
    """A study in two processes, which each time wants a seed more than there are."""
    from convmill.study import experiment

    def write(number: int) -> None:
        table = study_with_another_seed(folder)
        experiment.carry_out(table, folder=folder / "study", workers=2, verbose=False)

    return write


def study_with_another_seed(folder: Path) -> dict[str, Any]:
    """The table of a study of two arms that needs one or two runs more than are finished."""
    finished = sum(1 for _ in (folder / "study" / "runs").glob("[!.]*.json"))
    return small(folder, seeds=2 + (finished - 1) // 2)


def code(folder: Path) -> Callable[[int], None]:
    """Native code and tuned choices of a net, which nobody finds there before."""
    os.environ["CONVMILL_CACHE"] = str(folder)
    tuned = Tuned()

    def write(number: int) -> None:
        for path in folder.glob("[!.]*"):
            path.unlink()
        tuned.predicted()
        tuned.remember()

    return write


class Tuned:
    """A net whose code is kept, and what ``convmill tune`` may have found for it."""

    def __init__(self) -> None:
        from tests.engine.nets import conv, dense, flatten, graph_of, parameters

        self.graph = graph_of((8, 8, 3), conv(32, (3, 3)), flatten, dense(3))
        self.images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
        self.values = parameters(np.random.default_rng(1), self.graph)

    def predicted(self) -> bytes:
        """Predictions by code that is kept, or else compiled and kept."""
        from convmill.runtime import jit
        from tests.engine.nets import program_of

        jit.forget()
        program = program_of(self.graph, None, self.values, chooser=self._choose)
        return program.predict(self.images).tobytes()

    def _choose(self, *asked: Any) -> Any:
        from convmill.lower.alternatives import Modelled

        self.modelled = Modelled.of(*asked)
        return self.modelled.stages

    def remember(self) -> None:
        """Keeps what was found."""
        from convmill.runtime import remembered

        remembered.remember(self.modelled, self.found())

    def found(self) -> dict[tuple[int, str], Any]:
        """Of every part the last alternative."""
        from convmill.lower.alternatives import parts

        return {(part.stage, part.field): part.values[-1] for part in parts(self.modelled)}

    def recalled(self) -> Any:
        """What another process finds."""
        from convmill.runtime import remembered

        remembered.forget()
        return remembered.recall(self.modelled)


KINDS = {
    "files": files,
    "checkpoints": checkpoints,
    "models": model_files,
    "weights": weight_files,
    "downloads": downloads,
    "studies": studies,
    "code": code,
}


if __name__ == "__main__":
    write = KINDS[sys.argv[1]](Path(sys.argv[2]))
    write(0)
    print("written", flush=True)
    for number in itertools.count(1):
        write(number)
