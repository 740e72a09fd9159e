"""Native code and tuned choices of a net, kept for other processes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from convmill.lower.alternatives import Modelled, parts
from convmill.runtime import jit, remembered
from tests.engine.nets import conv, dense, flatten, graph_of, parameters, program_of

CODE = "code"  # where all kinds keep it, in their folder


def write(folder: Path) -> Iterator[None]:
    """Keeps both where nobody finds them before."""
    tuned = Tuned()
    while True:
        for path in (folder / CODE).glob("[!.]*"):
            path.unlink()
        tuned.predicted()
        tuned.remember()
        yield


def check(folder: Path) -> None:
    """Both are whole, or not there and then made anew, without a word."""
    tuned = Tuned()
    with patch.dict(os.environ, CONVMILL_CACHE=""):
        right = tuned.predicted()
    said = io.StringIO()
    with redirect_stderr(said):
        assert tuned.recalled() in ({}, tuned.found())
        assert tuned.predicted() == right
        assert tuned.predicted() == right  # now it is there
        tuned.remember()
        assert tuned.recalled() == tuned.found()
    assert not said.getvalue()


class Tuned:
    """A net whose code is kept, and what ``convmill tune`` may have found for it."""

    def __init__(self) -> None:
        self.graph = graph_of((8, 8, 3), conv(32, (3, 3)), flatten, dense(3))
        self.images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
        self.values = parameters(np.random.default_rng(1), self.graph)

    def predicted(self) -> bytes:
        """Predictions by code that is kept, or else compiled and kept."""
        jit.forget()
        program = program_of(self.graph, None, self.values, chooser=self._choose)
        return program.predict(self.images).tobytes()

    def _choose(self, *asked: Any) -> Any:
        self.modelled = Modelled.of(*asked)
        return self.modelled.stages

    def remember(self) -> None:
        """Keeps what was found."""
        remembered.remember(self.modelled, self.found())

    def found(self) -> dict[tuple[int, str], Any]:
        """Of every part the last alternative."""
        return {(part.stage, part.field): part.values[-1] for part in parts(self.modelled)}

    def recalled(self) -> Any:
        """What another process finds."""
        remembered.forget()
        return remembered.recall(self.modelled)
