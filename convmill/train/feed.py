"""Where a run's batches come from: arrays, in the order that Keras would take, or a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from convmill.train import attach
from convmill.train.arrays import Given, Names, Samples, take


@dataclass(frozen=True)
class Part:
    """What one call of a Program goes through: samples, and the order to read them in.

    ``order`` is int64 (m,); step s reads ``order[s * batch_size : (s + 1) * batch_size]``.
    """

    samples: Samples
    order: np.ndarray
    batch_size: int

    @property
    def steps(self) -> int:
        """How many batches the part holds."""
        return -(-len(self.order) // self.batch_size)


@dataclass(frozen=True)
class Group:
    """The parts between two calls of batch hooks; ``first`` and ``last`` number its steps."""

    first: int
    last: int
    parts: tuple[Part, ...]


class Feed(Protocol):
    """Batches, epoch by epoch."""

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, None where that is not known yet."""

    @property
    def images(self) -> int | None:
        """Images in an epoch, None where that is not known."""

    def epoch(self, whole: bool) -> Iterator[Group]:
        """One epoch's groups; ``whole`` allows the epoch to be a single group."""

    def first(self) -> Given | None:
        """The first batch, without moving on; None where there is none."""

    def begin(self) -> None:
        """Goes back to the start: an epoch begins anew."""

    def as_keras_built(self) -> None:
        """Does to the state what Keras does when it builds a model on the first batch."""


class ArrayFeed:
    """Batches out of arrays. An epoch is one part, unless hooks want to hear of each batch.

    ``together`` is how many batches there are between two batch hooks.
    """

    def __init__(
        self,
        given: Given,
        prepare: Callable[[Given], Samples],
        *,
        batch_size: int | None,
        steps: int | None,
        shuffle: Any = False,
        together: int = 1,
    ) -> None:
        self.given = given
        self.batches = attach.order_batches(len(given), batch_size, steps, shuffle, together)
        self.batch_size = int(self.batches.data_adapter.batch_size)
        self.prepare = prepare
        self.samples: Samples | None = None

    @property
    def steps(self) -> int | None:
        return self.batches.num_batches

    @property
    def images(self) -> int | None:
        return min(len(self.given), (self.steps or 0) * self.batch_size)

    def first(self) -> Given:
        return self.given.part(0, self.batch_size)

    def as_keras_built(self) -> None:
        self.batches.first()  # draws a permutation that no epoch uses

    def begin(self) -> None:
        self.batches.reset()

    def check(self) -> None:
        """Checks the arrays now, and not at the first epoch."""
        if self.samples is None:
            self.samples = self.prepare(self.given)

    def epoch(self, whole: bool) -> Iterator[Group]:
        self.check()
        assert self.samples is not None
        found: Iterator[tuple[int, int, list[np.ndarray]]] = self.batches.epoch()
        if whole:
            found = _as_one(found)
        for first, last, batches in found:
            part = Part(self.samples, np.concatenate(batches), self.batch_size)
            yield Group(first, last, (part,))


class StreamFeed:
    """Batches out of a generator, a ``PyDataset``, a ``tf.data.Dataset`` or a data loader."""

    def __init__(
        self,
        adapter: Any,
        prepare: Callable[[Given], Samples],
        *,
        names: Names,
        steps: int | None,
        together: int = 1,
    ) -> None:
        self.batches = attach.adapter_batches(adapter, steps, together)
        self.prepare = prepare
        self.names = names
        self._first: Given | None = None
        self._at_start = False  # whether Keras' adapter was told that an epoch has ended

    @property
    def steps(self) -> int | None:
        return self.batches.num_batches

    @property
    def images(self) -> int | None:
        return None

    def first(self) -> Given | None:
        if self._first is None:
            self._at_start = False
            batch = self.batches.first()
            self.begin()
            with _named(0):
                self._first = None if batch is None else self._take(batch)
        return self._first

    def check(self) -> None:
        """Checks the first batch now, and not at the first epoch."""
        first = self.first()
        if first is not None:
            with _named(0):
                self.prepare(first)

    def begin(self) -> None:
        if not self._at_start:
            self.batches.reset()
            self._at_start = True

    def as_keras_built(self) -> None:
        """Nothing: ``first`` drew from the stream what Keras would have drawn."""

    def epoch(self, whole: bool) -> Iterator[Group]:
        self._at_start = False
        for first, last, batches in self.batches.epoch():
            parts = tuple(self._part(first + i, batch) for i, batch in enumerate(batches))
            yield Group(first, last, parts)

    def _part(self, step: int, batch: Any) -> Part:
        with _named(step):
            samples = self.prepare(self._take(batch))
        order = np.arange(len(samples), dtype=np.int64)
        return Part(samples, order, len(samples))

    def _take(self, batch: Any) -> Given:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        return take(x, y, sample_weight, self.names)


@contextmanager
def _named(step: int) -> Iterator[None]:
    """Adds to an error about data which batch they were."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"In batch {step} of the data: {error}") from error


def _as_one(
    groups: Iterator[tuple[int, int, list[np.ndarray]]],
) -> Iterator[tuple[int, int, list[np.ndarray]]]:
    """All groups of an epoch in one."""
    found = list(groups)
    if found:
        yield 0, found[-1][1], [batch for _, _, batches in found for batch in batches]
