"""Files with bytes flipped, cut, doubled and dropped, through every door that reads them.

Numbers take turns at the doors, quick ones more often; of each door they go through all bytes of
its file, again and again, each time changed otherwise. Files with checksums have a second door,
where these are made right again, so that what lies behind them is met too.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.robust.fuzz import mutations
from tests.robust.fuzz.outcomes import RIGHT, Case, Fault, Result, refused

Change = Callable[[bytes, int], bytes]
# How often a door is tried in a round of them all. QUICK ones take a millisecond; SLOW ones take
# ten, HDF5 aside, whose every byte is to be met, so OFTEN; HEAVY ones have Keras read a model, draw
# a picture or train a net.
QUICK, OFTEN, SLOW, HEAVY = 80, 24, 4, 1


@dataclass(frozen=True)
class Door:
    """Who reads a file. ``enter`` reads ``path``, raises what its user would see, and Fault where
    it finds other things than were written; it is told whether other things may well be there, as
    checksums were made right again. It may return what came of it."""

    name: str
    path: Path
    content: bytes
    enter: Callable[[bool], str | None]
    turns: int = QUICK
    change: Change = mutations.mutated
    may_differ: bool = False
    keep: bool = False  # the file is there for other doors too


def both(door: Door, change: Change, turns: int) -> list[Door]:
    """A door, and the one where ``change`` makes checksums right again."""
    name = f"{door.name}, checksums right"
    return [door, replace(door, name=name, change=change, turns=turns, may_differ=True)]


GROUPS = ("model_doors", "data_doors", "run_doors", "text_doors")


def begin(folder: Path) -> Case:
    """The cases, with files in ``folder``."""
    turns = _round(doors(folder, GROUPS))

    def case(number: int) -> Result:
        done, at = divmod(number, len(turns))
        door, turn = turns[at]
        return through(door, done * door.turns + turn)

    return case


def doors(folder: Path, groups: Sequence[str]) -> list[Door]:
    """All doors of some modules, with files in ``folder``."""
    found: list[Door] = []
    for name in groups:
        place = folder / name
        place.mkdir()
        module = importlib.import_module(f"tests.robust.fuzz.{name}")  # which imports this one
        found += getattr(module, name)(place)
    return found


def _round(every: Sequence[Door]) -> list[tuple[Door, int]]:
    """All turns of all doors, those of each spread over the round."""
    turns = [(door, turn) for door in every for turn in range(door.turns)]
    return sorted(turns, key=lambda one: (one[1] + 0.5) / one[0].turns)


def through(door: Door, number: int) -> Result:
    """One change of a door's file."""
    changed = door.change(door.content, number)
    door.path.parent.mkdir(parents=True, exist_ok=True)
    door.path.write_bytes(changed)
    try:
        found = door.enter(door.may_differ)
    except Fault as fault:
        raise Fault(door.name, str(fault)) from fault
    except Exception as error:
        return refused(error, door.name, f"{door.path.name} of {len(changed)} bytes")
    finally:
        if not door.keep:
            door.path.unlink(missing_ok=True)
    return Result(door.name, found or RIGHT)


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
