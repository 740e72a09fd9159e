"""The pass that puts the barriers.

    [forward, loss, backward: images] [dW: shares] [norms: shares] [update: shares] [copy: shares]
    =>  images | dW | norms | update, copy

A barrier stands wherever a launch needs what others of its phase compute: where shares read what
images wrote or the reverse, and where a share reads what another share wrote. A launch over the
very same shares as the one that it reads goes on in the same task instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convmill.lower.launches import Images, Launch, Phase, Slot, Step


def cut(call: Sequence[Launch], launches: Sequence[Launch]) -> Step:
    """A Step of launches in order; ``call`` are those that come once, before the first batch.

    All up to the last launch that touches an image's memory is done for each part of a batch.
    """
    ends = [number + 1 for number, launch in enumerate(launches) if _touches_images(launch)]
    end = max(ends, default=0)
    return Step(_phases(call), _phases(launches[:end]), _phases(launches[end:]))


def _touches_images(launch: Launch) -> bool:
    return isinstance(launch.over, Images) or any(slot.home == "image" for slot in launch.slots)


@dataclass
class _Open:
    """A phase that launches may still join: its works, and which of them write a slot or touch
    it."""

    works: list[list[Launch]] = field(default_factory=list)
    writers: dict[Slot, set[int]] = field(default_factory=dict)
    users: dict[Slot, set[int]] = field(default_factory=dict)

    def place(self, launch: Launch) -> int | None:
        """The work that ``launch`` goes on with, ``len(works)`` for one of its own; None where a
        barrier must stand before it."""
        first = self.works[0][0]
        if isinstance(launch.over, Images) or isinstance(first.over, Images):
            both = isinstance(launch.over, Images) and isinstance(first.over, Images)
            return 0 if both else None
        needed = set[int]()  # what writes what the launch touches, or touches what it writes
        for slot in launch.slots:
            needed |= self.writers.get(slot, set())
        for slot in launch.writes:
            needed |= self.users.get(slot, set())
        if not needed:
            return len(self.works)
        one = needed.pop()
        return one if not needed and self.works[one][0].over == launch.over else None

    def add(self, launch: Launch, place: int) -> None:
        """Put ``launch`` behind the others of a work."""
        if place == len(self.works):
            self.works.append([])
        self.works[place].append(launch)
        for slot in launch.slots:
            self.users.setdefault(slot, set()).add(place)
        for slot in launch.writes:
            self.writers.setdefault(slot, set()).add(place)


def _phases(launches: Sequence[Launch]) -> tuple[Phase, ...]:
    phases: list[_Open] = []
    for launch in launches:
        place = phases[-1].place(launch) if phases else None
        if place is None:
            phases.append(_Open())
        phases[-1].add(launch, place or 0)
    return tuple(_ordered(phase.works) for phase in phases)


def _ordered(works: Sequence[Sequence[Launch]]) -> Phase:
    """The largest work first, so that no thread begins it last."""
    sized = sorted(works, key=lambda work: -sum(launch.work for launch in work))
    return Phase(tuple(tuple(work) for work in sized))
