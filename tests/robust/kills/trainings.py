"""A training that keeps checkpoints: resumed as often as it is killed, it ends as one that was not.

Whoever checks goes to the end from what was left, and leaves it for the next one to go on with.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.robust import killed

EPOCHS = 20


def write(folder: Path) -> Iterator[None]:
    """Trains to the end, from where the last one was killed."""
    model = killed.built()
    yield
    killed.fit(model, folder / "run", _result(folder / "run"), EPOCHS)


def check(folder: Path) -> None:
    """What is left leads to the same end."""
    run, before, whole = (folder / name for name in ("run", "before", "whole"))
    if not whole.exists():
        killed.train(whole, _result(whole), EPOCHS)
    run.mkdir(exist_ok=True)
    shutil.copytree(run, before, ignore=shutil.ignore_patterns(".*"))
    ended = _result(run).exists()
    if not ended:
        killed.train(run, _result(run), EPOCHS)
    killed.assert_same_end(_result(run), _result(whole))
    assert not [name for name in os.listdir(run) if name.startswith(".")]
    shutil.rmtree(run)
    if ended:
        shutil.rmtree(before)
    else:
        before.rename(run)


def _result(run: Path) -> Path:
    return run / "result.npz"
