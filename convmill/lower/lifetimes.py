"""The pass that gives slots their memory, by when they are first written and last read.

    a slot that only one phase over images touches  =>  a thread's own, for a group of images
    a slot that a later phase reads                 =>  in the record of its image
    a sum over a slice of a batch                   =>  each slice has its own
    slots that never live together                  =>  the same memory

So what an image leaves behind for a later phase alone takes memory for each image of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from convmill.lower.launches import Home, Launch, Slot, Step
from convmill.lower.lines import apart, in_lines

FOREVER = 1 << 30


@dataclass(frozen=True)
class Place:
    """Where a slot lies: byte offset in the record of an image, in the part of a thread's own
    memory that an image of its group has, or in what a slice of a batch has."""

    home: Home
    offset: int
    bytes: int
    bordered: bool


@dataclass(frozen=True)
class Memory:
    """Places by slot name; bytes of an image's record, of a thread's own memory for one image of a
    group, and of a slice's sums, and float32 elements of a thread's scratch, all in whole cache
    lines. ``guard`` bytes of no use follow each slot where tests watch them."""

    places: dict[str, Place]
    sizes: Mapping[Home, int]
    scratch: int
    guard: int = 0

    @property
    def image_bytes(self) -> int:
        """Bytes of an image's record."""
        return self.sizes["image"]

    @property
    def thread_bytes(self) -> int:
        """Bytes of a thread's own memory for one image of a group."""
        return self.sizes["thread"]

    @property
    def slice_bytes(self) -> int:
        """Bytes of the sums of a slice."""
        return self.sizes["slice"]

    def stride(self, name: str) -> int:
        """Bytes from a slot of one image, or slice, to that of the next."""
        return self.sizes[self.places[name].home]


@dataclass(frozen=True)
class _Lifetime:
    """First and last moment at which a slot is touched, and whether one phase does all of that."""

    slot: Slot
    first: int
    last: int
    alone: bool

    @property
    def home(self) -> Home:
        """Whose memory the slot has."""
        return "thread" if self.slot.home == "image" and self.alone else self.slot.home


def place_slots(step: Step, guard: int = 0) -> Memory:
    """The memory of a step. With a ``guard`` nothing is shared and all that images have stays in
    their records, so that tests can look at everything afterwards."""
    lives = _lifetimes(step)
    if guard:
        lives = [replace(life, first=0, last=FOREVER, alone=False) for life in lives]
    places: dict[str, Place] = {}
    sizes: dict[Home, int] = {}
    homes: tuple[Home, ...] = ("image", "thread", "slice")
    for home in homes:
        found, sizes[home] = _packed([one for one in lives if one.home == home], home, guard)
        places |= found
    scratch = max((launch.scratch for launch in step.launches()), default=0)
    return Memory(places, sizes, in_lines(4 * scratch) // 4, guard)


def _lifetimes(step: Step) -> list[_Lifetime]:
    """Lifetimes of all slots that images or slices have, in the order of their first use."""
    touched: dict[Slot, list[tuple[int, int]]] = {}  # (moment, phase)
    for moment, phase, launch in _moments(step):
        for slot in launch.slots:
            if slot.home != "batch":
                touched.setdefault(slot, []).append((moment, phase))
    return [
        _Lifetime(slot, uses[0][0], _last(slot, uses), _is_alone(slot, uses))
        for slot, uses in touched.items()
    ]


def _last(slot: Slot, uses: Sequence[tuple[int, int]]) -> int:
    """When a slot is touched for the last time; a slice's sums are once its batch is through."""
    return FOREVER if slot.home == "slice" else uses[-1][0]


def _is_alone(slot: Slot, uses: Sequence[tuple[int, int]]) -> bool:
    """Whether one phase does all that is done with a slot."""
    return not slot.kept and len({phase for _, phase in uses}) == 1


def _moments(step: Step) -> Iterator[tuple[int, int, Launch]]:
    """Launches with a moment and their phase's number: those of a phase over shares run at one
    moment, those over images one behind the other."""
    moment = 0
    for number, phase in enumerate(step.part):
        moment += 1
        for work in phase.works:
            for launch in work:
                moment += phase.over_images
                yield moment, number, launch


def _packed(lives: Sequence[_Lifetime], home: Home, guard: int) -> tuple[dict[str, Place], int]:
    """Offsets for slots of one home: each the lowest that is free as long as it lives, the largest
    slots first. Returns the places, and the bytes from one that has all of them to the next."""
    placed: list[tuple[_Lifetime, int, int]] = []  # with first and last byte
    for life in sorted(lives, key=lambda one: (not one.slot.bordered, -one.slot.bytes)):
        length = in_lines(life.slot.bytes + guard)
        taken = sorted((start, stop) for other, start, stop in placed if _meet(life, other))
        offset = _gap(taken, length)
        placed.append((life, offset, offset + length))
    places = {
        life.slot.name: Place(home, start, life.slot.bytes, life.slot.bordered)
        for life, start, _ in placed
    }
    return places, apart(max((stop for _, _, stop in placed))) if placed else 0


def _meet(one: _Lifetime, other: _Lifetime) -> bool:
    """Whether two slots may not share memory."""
    if one.slot.bordered or other.slot.bordered:
        return True
    return one.first <= other.last and other.first <= one.last


def _gap(taken: Iterable[tuple[int, int]], length: int) -> int:
    """The lowest offset with ``length`` free bytes between what is taken, sorted."""
    offset = 0
    for start, stop in taken:
        if start - offset >= length:
            return offset
        offset = max(offset, stop)
    return offset
