"""Choices that were measured on this processor, kept on disk: what ``convmill tune`` has found.

A file is named by a hash of what was to be decided (the stages as ``choose.py`` chose them, the
target) and of the processor. It only selects among the alternatives that there are today: whatever
else it holds is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convmill import settings, storage
from convmill.lower.alternatives import parts, with_values
from convmill.lower.choose import choose
from convmill.lower.machine import Machine
from convmill.lower.stages import Gradients, Stage
from convmill.runtime import machine_code

ENDING = ".tuned"
Values = Mapping[tuple[int, str], Any]  # by the stage's number and the field of its choice


def chooser(stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> list[Stage]:
    """Every stage with its choice: what was measured to be quickest, or else what is modelled."""
    chosen = choose(stages, wanted, machine)
    return with_values(chosen, recall(chosen, wanted, machine))


def recall(chosen: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> Values:
    """What is to be computed otherwise than it was ``chosen``; nothing where nothing is known."""
    path = _path(chosen, wanted, machine)
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        named = {(int(number), str(field)): str(text) for number, field, text in kept["choices"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {
        (part.stage, part.field): value
        for part in (parts(chosen, wanted, machine) if named else ())
        for value in part.values
        if repr(value) == named.get((part.stage, part.field))
    }


def remember(
    chosen: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine, values: Values
) -> Path | None:
    """Keeps ``values`` for all processes, or forgets what was kept where there are none; the file,
    or None where nothing is kept between processes.

    Raises:
        OSError: the file cannot be written.
    """
    path = _path(chosen, wanted, machine)
    if path is None:
        return None
    if not values:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return path
    choices = [[number, field, repr(value)] for (number, field), value in values.items()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    storage.write(path, lambda file: file.write(json.dumps({"choices": choices}).encode()))
    return path


def _path(chosen: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine) -> Path | None:
    folder = settings.cache_folder()
    if folder is None:
        return None
    decided = repr((tuple(chosen), tuple(wanted), machine, machine_code.compiler()))
    return folder / f"{hashlib.sha256(decided.encode()).hexdigest()}{ENDING}"
