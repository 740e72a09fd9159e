"""A study that each time wants a seed more than there are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convmill.study import experiment, store
from tests.study.tables import small

MOST = 20  # finished runs; then another study begins


def write(folder: Path, workers: int = 1) -> Iterator[None]:
    """Runs what is missing, so many at a time; it may be killed where there is a study already."""
    if (folder / "study").exists():
        yield
    while True:
        table = _with_another_seed(folder)
        experiment.carry_out(table, folder=folder / "study", workers=workers, verbose=False)
        yield


def check(folder: Path) -> None:
    """What was finished stays as it is, and the rest is run."""
    place = folder / "study"
    before = {path: path.read_bytes() for path in (place / "runs").glob("[!.]*")}
    assert not store.read_folder(place).kept.unread
    table = _with_another_seed(folder)
    result, _ = experiment.carry_out(table, folder=place, workers=1, verbose=False)
    assert result.complete
    after = {path: path.read_bytes() for path in (place / "runs").iterdir()}
    assert len(after) == 2 * table["seeds"]
    assert before.items() < after.items()
    if len(after) > MOST:
        shutil.rmtree(place)


def _with_another_seed(folder: Path) -> dict[str, Any]:
    """The table of a study of two arms that needs one or two runs more than are finished."""
    finished = sum(1 for _ in (folder / "study" / "runs").glob("[!.]*.json"))
    return small(folder, seeds=2 + (finished - 1) // 2)
