"""Choices that were measured on this processor, kept on disk: what ``convmill tune`` has found.

A file is named by a hash of what was to be decided (the stages as ``choose.py`` chose them, the
target) and of the processor. It only selects among the alternatives that there are today: whatever
else it holds is passed over, and so is a file that others than the user may have written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convmill import settings, storage
from convmill.lower.alternatives import Modelled, parts, with_values
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.stages import Stage
from convmill.runtime import cache, machine_code

ENDING = ".tuned"
MOST_BYTES = 1 << 20
Values = Mapping[tuple[int, str], Any]  # by the stage's number and the field of its choice
_here: dict[str, Values] = {}  # what this process has found, by the names of files


def chooser(stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> list[Stage]:
    """Every stage with its choice: what was measured to be quickest, or else what is modelled."""
    modelled = Modelled.of(stages, wanted, machine)
    return with_values(modelled.stages, recall(modelled))


def recall(modelled: Modelled) -> Values:
    """What is to be computed otherwise than it was modelled; nothing where nothing is known."""
    name = _name(modelled)
    if name in _here:
        return _here[name]
    folder = settings.cache_folder()
    named = {} if folder is None else _read(folder, folder / f"{name}{ENDING}")
    return {
        key: value
        for part in (parts(modelled) if named else ())
        for value in part.values
        if repr(value) == named.get(key := (part.stage, part.field))
    }


def remember(modelled: Modelled, values: Values) -> str | None:
    """Keeps ``values`` for this process and, in a file, for all others, or forgets what was kept
    where there are none. Why there is no such file; None where there is, or need be, one."""
    name = _name(modelled)
    _here[name] = values
    folder = settings.cache_folder()
    if folder is None:
        return "CONVMILL_CACHE is empty" if values else None
    path = folder / f"{name}{ENDING}"
    try:
        if not values:
            path.unlink(missing_ok=True)
            return None
        choices = [[number, field, repr(value)] for (number, field), value in values.items()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with storage.replacing(path) as new:
            new.touch(mode=0o600)
            new.write_text(json.dumps({"choices": choices}), encoding="utf-8")
    except OSError as error:
        return str(error) if values else None
    return None


def forget() -> None:
    """Keeps in files alone what is remembered."""
    _here.clear()


def _read(folder: Path, path: Path) -> dict[tuple[int, str], str]:
    """The texts in a file, by stage and field; nothing of one that others may have written, or that
    holds anything else."""
    try:
        if not (cache.is_ours(folder) and cache.is_ours(path)):
            return {}
        with path.open("rb") as file:
            kept = json.loads(file.read(MOST_BYTES))
        return {(int(number), str(field)): str(text) for number, field, text in kept["choices"]}
    except Exception:  # whatever a damaged file makes a reader raise
        return {}


def _name(modelled: Modelled) -> str:
    """1 ms for a hundred stages: less than to look through a folder for any file."""
    stages, wanted, machine = modelled.stages, modelled.wanted, modelled.machine
    decided = repr((stages, wanted, machine, machine_code.compiler()))
    return hashlib.sha256(decided.encode()).hexdigest()
