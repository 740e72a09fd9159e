"""Which of a net's alternatives are the quickest on this processor: all are measured.

Every alternative of every part of every stage runs in a program that is timed launch by launch; one
program tries one alternative of all parts at once, so that there are no more programs than a part
has alternatives. What was found together is then measured against what was chosen before, as a
whole, in turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convmill.lower.alternatives import Modelled, Part, parts, with_values
from convmill.lower.launches import Launch
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients
from convmill.lower.passes import Chooser
from convmill.lower.stages import Stage
from convmill.runtime import remembered
from convmill.runtime.program import Kind, Program
from convmill.runtime.remembered import Values
from convmill.runtime.stopwatch import Seconds, launch_seconds
from convmill.threads import after_fork_in_child

SECONDS = 0.3  # of timed runs of one program
ROUNDS = 9  # in which all that was found is measured against what was there
ROUND_SECONDS = 0.05
CLEARLY = 0.97  # of the present one's time: below it another is taken
AT_ALL = 0.99  # of the whole's time: else all stays as it is
# What others of a step's launches read.
_SERVING = (
    *("live.places", "gating.gradient", "folding.fold"),
    *("copies.transpose", "winograd.weights", "winograd.turned_weights"),
)

_tuning = threading.Lock()
# Makes a Program by a chooser; timed ones have one thread.
Make = Callable[[Chooser, bool], Program]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Tried:
    """What was measured of one ``part``: seconds a run of each of its values; which was taken."""

    part: Part
    seconds: tuple[float, ...]
    taken: int


@dataclass(frozen=True)
class Tuned:
    """What tuning one ``kind`` of program has found: every part that was tried, the stages as they
    were chosen, the ``values`` that are taken instead, the least seconds of a run before and after,
    with all threads (0.0 where nothing was to be compared), and why other processes will not find
    it, if they will not."""

    kind: Kind
    stages: tuple[Stage, ...]
    tried: tuple[Tried, ...]
    values: Values
    before: float
    after: float
    unkept: str | None = None


class _Choosing:
    """A chooser that has other ``values`` in the stages that it was made for, and notes what it was
    asked for."""

    def __init__(self, modelled: Modelled | None = None, values: Values | None = None) -> None:
        self.modelled, self.values = modelled, values or {}
        self.seen: list[Modelled] = []

    def __call__(
        self, stages: Sequence[Stage], wanted: Sequence[Gradients], machine: Machine
    ) -> list[Stage]:
        here = Modelled.of(stages, wanted, machine)
        self.seen.append(here)
        return with_values(here.stages, self.values if here == self.modelled else {})


def tune(
    make: Make, kinds: Mapping[Kind, Callable[[Program], object]], tell: Tell
) -> Iterator[Tuned]:
    """Tunes each kind of program that differs from those before; ``kinds`` run one.

    What is found is remembered (``remembered.py``) as soon as it is known. One thread of a process
    tunes at a time: others would disturb it.
    """
    seen = _Choosing()
    make(seen, False)
    first, last = seen.seen[0], seen.seen[-1]  # a Program is lowered for training, then inference
    decided = {"training": first} if last == first else {"training": first, "inference": last}
    for kind, run in kinds.items():
        if kind in decided:
            with _tuning:
                found = _tune(make, kind, run, decided[kind], tell)
            yield replace(found, unkept=remembered.remember(decided[kind], found.values))


def _tune(
    make: Make, kind: Kind, run: Callable[[Program], object], modelled: Modelled, tell: Tell
) -> Tuned:
    every = parts(modelled)
    most = max((len(part.values) for part in every), default=0)
    seconds: dict[tuple[Part, Any], float] = {}
    for turn in range(most):
        tell(f"{kind}: program {turn + 1} of {most}")
        now = {part: part.values[turn % len(part.values)] for part in every}
        values = {(part.stage, part.field): value for part, value in now.items()}
        program = make(_Choosing(modelled, values), True)
        taken = launch_seconds(program, kind, run, SECONDS)
        for part, value in now.items():
            spent = part_seconds(part, every, taken)
            seconds[part, value] = min(spent, seconds.get((part, value), spent))
    tried = tuple(_tried(part, [seconds[part, value] for value in part.values]) for part in every)
    values = {
        (one.part.stage, one.part.field): one.part.values[one.taken] for one in tried if one.taken
    }
    before = after = 0.0
    if values:
        tell(f"{kind}: what was found, against what there was")
        before, after = _compared(make, run, modelled, values)
    if after > before * AT_ALL:
        values = {}
    return Tuned(kind, modelled.stages, tried, values, before, after)


def _tried(part: Part, seconds: list[float]) -> Tried:
    """The quickest value, unless the present one is about as quick."""
    best = min(range(len(seconds)), key=lambda number: seconds[number])
    taken = best if seconds[best] < CLEARLY * seconds[0] else 0
    return Tried(part, tuple(seconds), taken)


def part_seconds(part: Part, every: Sequence[Part], seconds: Seconds) -> float:
    """What a part takes: its own launches, its share of those that serve it, and the adding up of
    what it has summed by slices."""
    of_stage = [one for one in every if one.stage == part.stage]
    own = _own(part, seconds)
    readers = [{slot for launch in _own(one, seconds) for slot in launch.reads} for one in of_stage]
    read = {slot for launch in own for slot in launch.reads}
    partials = {slot for launch in own for slot in launch.writes if slot.home == "slice"}
    spent = sum(seconds[launch] for launch in own)
    for launch, took in seconds.items():
        written = set(launch.writes)
        if partials & set(launch.reads):
            spent += took
        if launch.kernel in _SERVING and launch not in own and written & read:
            spent += took / sum(bool(written & other) for other in readers)
    return spent


def _own(part: Part, seconds: Seconds) -> list[Launch]:
    """The launches of the part alone; of a part that decides of all its stage, all of that."""
    found = [launch for launch in seconds if launch.of == f"stage{part.stage}"]
    if part.kernels:
        found = [launch for launch in found if launch.kernel.endswith(part.kernels)]
    return found


def _compared(
    make: Make, run: Callable[[Program], object], modelled: Modelled, values: Values
) -> tuple[float, float]:
    """The least seconds of a run as it was and with other values, in turns."""
    both = [make(_Choosing(modelled, one), False) for one in ({}, values)]
    for program in both:
        run(program)  # compiles
    least = [float("inf")] * 2
    for _ in range(ROUNDS):
        for number, program in enumerate(both):
            runs, start, now = 0, time.perf_counter(), 0.0
            while now < ROUND_SECONDS:
                run(program)
                runs, now = runs + 1, time.perf_counter() - start
            least[number] = min(least[number], now / runs)
    return least[0], least[1]


def _tune_in_child() -> None:
    """Whoever was tuning in another thread is not there."""
    global _tuning
    _tuning = threading.Lock()


after_fork_in_child(_tune_in_child)
