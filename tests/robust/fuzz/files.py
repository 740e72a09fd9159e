"""Files with bytes flipped, cut, doubled and dropped, through every door that reads them.

Numbers take turns at the doors; of each door they go through all bytes of its file, again and
again, each time changed otherwise. Every other round of files with checksums has these made right
again, so that what lies behind them is met too.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.robust.fuzz import mutations
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result, refused

Remake = Callable[[bytes, int], bytes]


@dataclass(frozen=True)
class Door:
    """Who reads a file. ``enter`` reads ``path``, raises what its user would see, and Fault where
    it finds other things than were written; it is told whether checksums were made right again,
    in which case other things may well be there, and may return what came of it."""

    name: str
    path: Path
    content: bytes
    enter: Callable[[bool], str | None]
    remake: Remake | None = None
    keep: bool = False  # the file is there for other doors too


GROUPS = ("model_doors", "data_doors", "run_doors")


def begin(folder: Path, groups: Sequence[str] = GROUPS) -> Case:
    """The cases, with files in ``folder``."""
    doors: list[Door] = []
    for name in groups:
        place = folder / name
        place.mkdir()
        module = importlib.import_module(f"tests.robust.fuzz.{name}")  # which imports this one
        doors += getattr(module, name)(place)

    def case(number: int) -> Result:
        return through(doors[number % len(doors)], number // len(doors))

    return case


def through(door: Door, number: int) -> Result:
    """One change of a door's file."""
    remade = door.remake is not None and number % 2 == 1
    if door.remake is None:
        changed = mutations.mutated(door.content, number)
    elif remade:
        changed = door.remake(door.content, number // 2)
    else:
        changed = mutations.mutated(door.content, number // 2)
    what = f"{door.name}, checksums right" if remade else door.name
    place = door.path.parent
    place.mkdir(parents=True, exist_ok=True)
    door.path.write_bytes(changed)
    try:
        found = door.enter(remade or changed == door.content)
    except Fault as fault:
        raise Fault(what, str(fault)) from fault
    except Exception as error:
        return refused(error, what, f"{door.path.name} of {len(changed)} bytes")
    finally:
        if door.path.is_file() and not door.keep:
            door.path.unlink()
    return Result(what, found or RIGHT)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def written(path: Path, write: Callable[[Path], Any]) -> bytes:
    """What ``write`` writes to a path, and then it is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content
