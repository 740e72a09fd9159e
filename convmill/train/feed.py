"""Where a run's batches come from: arrays, in the order that Keras would take, or a stream.

Where there are hooks, a batch is read behind the one that announces it, as in Keras. Where there
are none, the small batches of a stream are read a few ahead of the steps that are made of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import keras
import numpy as np

from convmill.plan.refusals import NotCovered
from convmill.train.arrays import Given
from convmill.train.attach.batches import adapter_epochs, index_epochs
from convmill.train.gather import Together, gathered
from convmill.train.samples import Arrays, Samples


@dataclass(frozen=True)
class Part:
    """What one call of a Program goes through: samples, and the order to read them in.

    ``order`` is int64 (m,); step s reads ``order[s * batch_size : (s + 1) * batch_size]``. What is
    ``copied`` stays as it is, whatever the stream does meanwhile.
    """

    samples: Samples
    order: np.ndarray
    batch_size: int
    copied: bool = False

    @property
    def steps(self) -> int:
        """How many batches the part holds."""
        return -(-len(self.order) // self.batch_size)

    def until(self, steps: int) -> Part:
        """The first so many batches of the part, or all of it."""
        return replace(self, order=self.order[: steps * self.batch_size])

    def behind(self, steps: int) -> Part:
        """What is left behind so many batches."""
        return replace(self, order=self.order[steps * self.batch_size :])


@dataclass(frozen=True)
class Uncovered:
    """A batch of a stream that the Program cannot read, as it came: Keras makes that step."""

    x: Any
    y: Any
    weight: Any
    gap: NotCovered


@dataclass(frozen=True)
class Execution:
    """What lies between two batch hooks: steps ``first`` to ``last`` of an epoch.

    ``parts`` are read as they are asked for. Where there are none, the stream has ended, and the
    epoch with it.
    """

    first: int
    last: int
    parts: Iterator[Part | Uncovered]


class BadBatch(ValueError):
    """Data that make no sense, found in the midst of a run: in batch ``step``, or in all of it."""

    def __init__(self, step: int | None, error: ValueError) -> None:
        self.step, self.error = step, error
        super().__init__(f"In {self.place('data')}: {error}")

    def place(self, data: str) -> str:
        """Where it was found, in words: in which batch of ``data``."""
        return f"the {data}" if self.step is None else f"batch {self.step} of the {data}"


class Feed(Protocol):
    """Batches, epoch by epoch."""

    @property
    def steps(self) -> int | None:
        """Batches in an epoch, None where that is not known yet."""

    @property
    def images(self) -> int | None:
        """Images in an epoch, None where that is not known."""

    def epoch(self, whole: bool) -> Iterator[Execution]:
        """One epoch; ``whole`` allows it to be a single execution. Raises BadBatch."""

    def reset(self) -> None:
        """Goes back to the start, as Keras does before it fits and before it evaluates."""


class ArrayFeed:
    """Batches out of arrays. An epoch is one part, unless hooks want to hear of each batch, or much
    would have to be copied at once.

    ``together`` is how many batches there are between two batch hooks. The arrays are read anew
    for each epoch (for each batch, where there are hooks), as callbacks may have changed them.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        batch_size: int | None,
        steps: int | None,
        shuffle: Any = False,
        together: int = 1,
    ) -> None:
        self.arrays = arrays
        self.epochs = index_epochs(
            len(arrays), batch_size, steps, shuffle, together, self._renew
        )
        self.batch_size = int(self.epochs.data_adapter.batch_size)
        self.shuffle = shuffle
        self.keeps = steps is not None  # Keras then goes through one conversion for many epochs
        self.whole = False

    @property
    def steps(self) -> int | None:
        return self.epochs.num_batches

    @property
    def images(self) -> int | None:
        return min(len(self.arrays), (self.steps or 0) * self.batch_size)

    def first(self) -> Given:
        """The first images, a batch of them, in the order in which they lie."""
        return self.arrays.given.part(0, self.batch_size)

    def look(self) -> None:
        """Draws the permutation that Keras draws when it builds a model, and that nobody uses."""
        self.epochs.look()

    def reset(self) -> None:
        self.epochs.reset()

    def _renew(self) -> None:
        self.arrays.renew(convert=self.keeps or not self.whole)

    def epoch(self, whole: bool) -> Iterator[Execution]:
        self.whole = whole
        if whole:
            yield from self._as_one()
            return
        for first, last, batches in self.epochs.epoch():
            yield Execution(first, last, self._parts(first, batches))

    def _as_one(self) -> Iterator[Execution]:
        """The epoch as a single execution."""
        current, ends, orders = self.arrays.given, [0], list[np.ndarray]()
        for _, last, batches in self.epochs.epoch():
            if not orders:  # at the epoch's end Keras may convert the arrays for the next one
                current = self.arrays.current
            ends.append(last)
            orders.extend(batches)
        if orders:
            yield Execution(0, ends[-1], self._pieces(current, orders))

    def _pieces(self, current: Given, orders: list[np.ndarray]) -> Iterator[Part]:
        """All batches in few parts: one, if little is copied for it."""
        count = -(-self.arrays.at_once(current) // self.batch_size)
        for first in range(0, len(orders), count):
            piece = np.concatenate(orders[first : first + count])
            yield self._part(current, piece, None, gather=count < len(orders))

    def _parts(self, first: int, batches: Iterator[np.ndarray]) -> Iterator[Part]:
        for step, order in enumerate(batches, first):
            yield self._part(self.arrays.current, order, step, gather=True)

    def _part(self, current: Given, order: np.ndarray, step: int | None, *, gather: bool) -> Part:
        try:
            samples, order = self.arrays.read(current, order, gather=gather)
        except ValueError as error:
            raise BadBatch(step, error) from error
        return Part(samples, order, self.batch_size, copied=gather)


@contextmanager
def held(*feeds: Feed | None) -> Iterator[None]:
    """Within, the arrays that are read keep their memory: NumPy resizes none that is referred to
    weakly, not even where it is told not to look for references."""
    holds = [
        weakref.ref(one)
        for feed in feeds
        if isinstance(feed, ArrayFeed)
        for array in feed.arrays.given.arrays
        for one in _bases(array)
    ]
    try:
        yield
    finally:
        holds.clear()


def _bases(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array, and those that it is a view of."""
    one: Any = array
    while isinstance(one, np.ndarray):
        yield one
        one = one.base


class StreamFeed:
    """Batches out of a generator, a ``PyDataset``, a ``tf.data.Dataset`` or a data loader."""

    def __init__(
        self,
        adapter: Any,
        prepare: Callable[[Given], Samples],
        take: Callable[[Any, Any, Any], Given],
        pack: Callable[[Given], tuple[Any, Any, Any]],
        *,
        steps: int | None,
        together: int = 1,
    ) -> None:
        self.epochs = adapter_epochs(adapter, steps, together)
        self.prepare, self.take, self.pack = prepare, take, pack

    @property
    def steps(self) -> int | None:
        return self.epochs.num_batches

    @property
    def images(self) -> int | None:
        return None

    def look(self) -> tuple[Any, Any, Any]:
        """x, y and sample_weight of the batch that Keras reads to build a model; then ``reset``.

        Raises ValueError where there is none.
        """
        batch = self.epochs.look()
        if batch is None:
            raise ValueError("x gave no batch at all. Received: an empty stream of batches")
        unpacked: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
        return unpacked

    def reset(self) -> None:
        self.epochs.reset()

    def epoch(self, whole: bool) -> Iterator[Execution]:
        executions = self.epochs.epoch()
        if whole:
            every = (batch for _, _, batches in executions for batch in batches)
            yield Execution(0, 0, self._parts(0, gathered(self._taken(0, every))))
            return
        for first, last, batches in executions:
            yield Execution(first, last, self._parts(first, self._taken(first, batches)))

    def _parts(
        self, step: int, batches: Iterator[Together | Given | Uncovered]
    ) -> Iterator[Part | Uncovered]:
        for found in batches:
            if isinstance(found, Uncovered):
                yield found
                step += 1
                continue
            together = found if isinstance(found, Together) else Together(found, len(found))
            yield from self._read(step, together)
            step += together.batches

    def _taken(self, first: int, batches: Iterator[Any]) -> Iterator[Given | Uncovered]:
        """The arrays in each batch."""
        for step, batch in enumerate(batches, first):
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            try:
                taken = self.take(x, y, weight)
            except NotCovered as gap:
                yield Uncovered(x, y, weight, gap)
                continue
            except ValueError as error:
                raise BadBatch(step, error) from error
            yield taken

    def _read(self, step: int, found: Together) -> Iterator[Part | Uncovered]:
        """Batches, of which the first is that of ``step``, as the Program reads them: where that
        cannot be, one by one, up to those that are in the way."""
        try:
            samples = self.prepare(found.given)
        except (NotCovered, ValueError) as error:
            if found.batches > 1:
                for number, one in enumerate(found):
                    yield from self._read(step + number, one)
                return
            if isinstance(error, ValueError):
                raise BadBatch(step, error) from error
            x, y, weight = self.pack(found.given)
            yield Uncovered(x, y, weight, error)
            return
        order = np.arange(len(samples), dtype=np.int64)
        yield Part(samples, order, found.batch_size, found.copied)
