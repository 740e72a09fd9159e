"""Small batches of a stream, several at a time: a call of a Program costs as much as a good part
of a small batch's step.

What is gathered is copied as it comes, as a stream may fill the same arrays again and again. Which
batches are together depends on the time they take to come, and what is computed does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from convmill.train.arrays import Given
from convmill.train.turns import begun

Other = TypeVar("Other")

# No more than so many bytes are gathered, nor for longer than this: progress is shown in between.
AT_ONCE_BYTES = 1 << 23
AT_ONCE_SECONDS = 0.05
# Who waits so long for a batch (for the threads that make it, say) trains meanwhile what is there.
LONG_SECONDS = 0.001


@dataclass(frozen=True)
class Together:
    """Batches side by side, of ``batch_size`` images each; the last one may have fewer."""

    given: Given
    batch_size: int
    copied: bool = False

    @property
    def batches(self) -> int:
        """How many there are."""
        return -(-len(self.given) // self.batch_size)

    def __iter__(self) -> Iterator[Together]:
        """One after the other, as views."""
        for start in range(0, len(self.given), self.batch_size):
            one = self.given.part(start, start + self.batch_size)
            yield Together(one, len(one), self.copied)


class _Gathering:
    """Room for batches like the ``first``, and those that are in it."""

    def __init__(self, first: Given) -> None:
        self.batch_size = len(first)
        self._kind = _kind(first)
        self._room = first.rows_within(AT_ONCE_BYTES) // self.batch_size * self.batch_size
        self._given = first.each(lambda one: np.empty((self._room, *one.shape[1:]), one.dtype))
        self._count = 0
        self._until = time.monotonic() + AT_ONCE_SECONDS

    def fits(self, batch: object) -> bool:
        """Whether it is a batch that may come behind those that are there."""
        if not isinstance(batch, Given):
            return False
        return len(batch) <= self.batch_size and _kind(batch) == self._kind

    def add(self, batch: Given) -> None:
        """Copies a batch that fits."""
        rows = slice(self._count, self._count + len(batch))
        for place, array in zip(self._given.arrays, batch.arrays, strict=True):
            place[rows] = array
        self._count = rows.stop

    @property
    def ends(self) -> bool:
        """Whether no other batch should come."""
        full = self._count + self.batch_size > self._room or self._count % self.batch_size != 0
        return full or time.monotonic() > self._until

    def together(self) -> Together:
        return Together(self._given.part(0, self._count), self.batch_size, copied=True)


def gathered(batches: Iterator[Given | Other]) -> Iterator[Together | Other]:
    """Batches in their order, those together that are alike and come at once; others as they are.

    What the iterator raises is raised behind the batches that it gave before.
    """
    gathering: _Gathering | None = None
    try:
        for batch, alone in _timed(batches):
            if gathering is not None and not gathering.fits(batch):
                yield gathering.together()
                gathering = None
            if not isinstance(batch, Given):
                yield batch
            elif gathering is None and _is_large(batch):
                yield Together(batch, len(batch))
            else:
                gathering = gathering or _Gathering(batch)
                gathering.add(batch)
                if alone or gathering.ends:
                    yield gathering.together()
                    gathering = None
    except Exception:
        if gathering is not None:
            yield gathering.together()
        raise
    if gathering is not None:
        yield gathering.together()


def _timed(batches: Iterator[Given | Other]) -> Iterator[tuple[Given | Other, bool]]:
    """Batches, and whether nothing should be read before they are trained: they took long to come,
    or the stream has asked a model something, whose next answer should be that of trained weights.
    """
    while True:
        asked, turns = time.monotonic(), begun()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch, time.monotonic() - asked > LONG_SECONDS or begun() != turns


def _is_large(batch: Given) -> bool:
    """Whether no two of such batches are gathered."""
    return 2 * len(batch) > batch.rows_within(AT_ONCE_BYTES)


def _kind(batch: Given) -> list[tuple[tuple[int, ...], np.dtype] | None]:
    """What batches have in common that can lie side by side."""
    every = (*batch.x, None, *(batch.y or ()), None, *(batch.weight or ()))
    return [None if one is None else (one.shape[1:], one.dtype) for one in every]
