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


Span = tuple[int, int]  # first and last moment


@dataclass(frozen=True)
class _Lifetime:
    """When a slot is in use, which ends where it is written again, and whether no such span goes
    beyond a phase."""

    slot: Slot
    spans: tuple[Span, ...]
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
        lives = [replace(life, spans=((0, FOREVER),), alone=False) for life in lives]
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
    touched: dict[Slot, list[list[tuple[int, int]]]] = {}  # (moment, phase), span by span
    for moment, phase, launch in _moments(step):
        for slot in launch.slots:
            if slot.home != "batch":
                spans = touched.setdefault(slot, [])
                if not spans or (launch.again and slot in launch.writes):
                    spans.append([])
                spans[-1].append((moment, phase))
    return [
        _Lifetime(slot, tuple(_span(slot, uses) for uses in spans), _is_alone(slot, spans))
        for slot, spans in touched.items()
    ]


def _span(slot: Slot, uses: Sequence[tuple[int, int]]) -> Span:
    """When a slot is touched first and last; a slice's sums are once its batch is through."""
    return uses[0][0], FOREVER if slot.home == "slice" else uses[-1][0]


def _is_alone(slot: Slot, spans: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """Whether one phase does all that is done with a slot from one writing to the next."""
    return not slot.kept and all(len({phase for _, phase in uses}) == 1 for uses in spans)


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
    for life in sorted(lives, key=lambda one: (one.slot.border is None, -one.slot.bytes)):
        length = in_lines(life.slot.bytes + guard)
        taken = sorted((start, stop) for other, start, stop in placed if _meet(life, other))
        offset = _gap(taken, length)
        placed.append((life, offset, offset + length))
    places = {
        life.slot.name: Place(home, start, life.slot.bytes)
        for life, start, _ in placed
    }
    return places, apart(max((stop for _, _, stop in placed))) if placed else 0


def _meet(one: _Lifetime, other: _Lifetime) -> bool:
    """Whether two slots may not share memory."""
    for first, last in one.spans:  # no generators: a deep net asks thousands of times
        for start, end in other.spans:
            if first <= end and start <= last:
                return True
    return one.slot.border != other.slot.border


def _gap(taken: Iterable[tuple[int, int]], length: int) -> int:
    """The lowest offset with ``length`` free bytes between what is taken, sorted."""
    offset = 0
    for start, stop in taken:
        if start - offset >= length:
            return offset
        offset = max(offset, stop)
    return offset
