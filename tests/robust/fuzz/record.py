"""What a long run has counted so far, kept in a file, so that another run goes on from there."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

Counts = Counter[tuple[str, str]]


@dataclass
class Record:
    """Of one kind: ``counts`` by what was tried and what came of it, and the ``seconds`` of it."""

    counts: Counts = field(default_factory=Counter)
    seconds: float = 0.0


def read(path: Path | None, seed: int) -> dict[str, Record]:
    """The records of a file by kind; none where there is no file. ValueError where it is of
    another seed."""
    if path is None or not path.exists():
        return {}
    kept = json.loads(path.read_text())
    if kept["seed"] != seed:
        raise ValueError(f"{path} is of seed {kept['seed']}: remove it, or give that seed")
    return {
        kind: Record(Counter({(what, outcome): n for what, outcome, n in counts}), seconds)
        for kind, (counts, seconds) in kept["kinds"].items()
    }


def write(path: Path | None, seed: int, records: dict[str, Record]) -> None:
    """Writes the file, whole."""
    if path is None:
        return
    kinds = {
        kind: ([[*key, count] for key, count in one.counts.items()], one.seconds)
        for kind, one in records.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps({"seed": seed, "kinds": kinds}))
    os.replace(new, path)
