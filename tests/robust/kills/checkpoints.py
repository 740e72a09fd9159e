"""Checkpoints, the last two of which stay."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convmill.train.checkpoint.folder import Folder

KEPT, SIZE = 2, 200_000


def write(folder: Path) -> Iterator[None]:
    """A number, and an array of it."""
    kept = Folder(folder, KEPT)
    kept.take()
    for number in itertools.count():
        kept.write({"number": number, "array": np.full(SIZE, number)})
        yield


def check(folder: Path) -> None:
    """All are whole; the next one goes where it would have gone."""
    kept = Folder(folder, KEPT)
    kept.take()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none is damaged
        newest = kept.newest()
    assert newest is not None
    number = newest[1]["number"]
    assert (newest[1]["array"] == number).all()
    kept.write({"number": number, "array": np.full(3, number)})
    kept.leave()
    assert sum(name.startswith("checkpoint") for name in os.listdir(folder)) == KEPT
