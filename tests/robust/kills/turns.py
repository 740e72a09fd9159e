"""Kills in turns of the kinds, counted. What is wrong is told and kept, and the others go on."""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.robust.kills.children import Wrong, check, kill
from tests.robust.kills.kinds import KINDS

TOLD = 20  # times, how far it is


@dataclass
class Count:
    """Of one kind: how many were killed, what was wrong, and how long it took with all checks."""

    kills: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def take_turns(kinds: Sequence[str], kills: int, seed: int, place: Path) -> dict[str, Count]:
    """Kills so many processes at moments that the seed gives, and looks at what each leaves.

    Each kind writes into a folder in ``place``, and where something is wrong, into another one
    from then on.
    """
    chance = random.Random(seed)
    counts = {kind: Count() for kind in kinds}
    for kind in _turns(kinds):
        count, start = counts[kind], time.monotonic()
        folder = place / f"{kind}-{len(count.faults)}"
        try:
            killed = _turn(kind, folder, chance)
        except Wrong as wrong:
            killed = True
            count.faults.append(f"{kind}: {wrong}\nWhat was left is in {folder}")
            print(f"{count.faults[-1]}: --kind {kind} --check {folder} looks again", flush=True)
        count.kills += killed
        count.seconds += time.monotonic() - start
        done = sum(each.kills for each in counts.values())
        if done == kills:
            break
        if killed and done % max(kills // TOLD, 1) == 0:
            print(f"{done} of {kills} killed", flush=True)
    return counts


def _turns(kinds: Sequence[str]) -> Iterator[str]:
    for turn in itertools.count():
        yield from (kind for kind in kinds if turn % KINDS[kind].every == 0)


def _turn(kind: str, folder: Path, chance: random.Random) -> bool:
    """Whether a process was killed while it was writing; raises ``Wrong``, and leaves the folder as
    the killed one has left it."""
    folder.mkdir(exist_ok=True)
    killed = kill(kind, folder, chance)
    left = folder.with_name(f"{folder.name}-left")
    shutil.copytree(folder, left)
    try:
        check(kind, folder)
    except Wrong:
        shutil.rmtree(folder)
        left.rename(folder)
        raise
    shutil.rmtree(left)
    return killed


def table(counts: dict[str, Count]) -> str:
    """How many were killed and what was wrong, by kind."""
    lines = [f"{'':12}{'kills':>8}{'wrong':>8}{'seconds each':>15}"]
    for kind, count in counts.items():
        each = count.seconds / max(count.kills, 1)
        lines.append(f"{kind:12}{count.kills:8,}{len(count.faults):8,}{each:15.1f}")
    kills = sum(count.kills for count in counts.values())
    wrong = sum(len(count.faults) for count in counts.values())
    return "\n".join([*lines, f"{'all':12}{kills:8,}{wrong:8,}"])
