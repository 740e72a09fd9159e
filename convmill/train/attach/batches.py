"""Keras' data adapters, and its iterator over their batches, epoch by epoch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras.src import backend
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import array_data_adapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator

from convmill.threads import can_start

_KINDS = {
    "GeneratorDataAdapter": "a generator",
    "TFDatasetAdapter": "a tf.data.Dataset",
    "TorchDataLoaderAdapter": "a torch.utils.data.DataLoader",
    "GrainDatasetAdapter": "a Grain data set",
}
_BESIDE_WORKERS = 4  # threads that Keras' queue and Python's pool have of their own


def is_array_data(*data: Any) -> bool:
    """Whether Keras would take all of ``data`` as arrays (None passes)."""
    return bool(array_data_adapter.can_convert_arrays(data))


def is_adapter(x: Any) -> bool:
    """Whether ``x`` is one of Keras' data adapters already."""
    return isinstance(x, DataAdapter)


def adapt(x: Any, y: Any, sample_weight: Any, class_weight: Any, shuffle: Any) -> Any:
    """Keras' data adapter for input that is no array, with Keras' own checks and errors.

    Where the system does not give the threads, or processes, that a ``PyDataset`` asks for, its
    batches are read in this thread, with a warning. Keras' own readers would break off, or have the
    training wait for ever.
    """
    adapter = data_adapters.get_data_adapter(
        x, y, sample_weight=sample_weight, class_weight=class_weight, shuffle=shuffle
    )
    if getattr(adapter, "enqueuer", None) is not None:
        workers = adapter.py_dataset.workers
        if not can_start(workers + _BESIDE_WORKERS):
            adapter.enqueuer = None
            warnings.warn(
                f"The {workers} workers of {type(x).__name__} could not be started: its batches "
                "are read without them. Lower workers=, or allow the process more threads.",
                RuntimeWarning,
                stacklevel=2,
            )
    return adapter


class Epochs(EpochIterator):
    """Keras' iterator over a data adapter's batches, epoch by epoch, read when Keras reads them.

    ``together`` batches are taken between two hooks. ``renew`` is called whenever Keras would begin
    to go through its arrays anew, which is when it converts them.
    """

    def __init__(
        self, x: Any, together: int, renew: Callable[[], None] | None = None, **arguments: Any
    ) -> None:
        super().__init__(x=x, steps_per_execution=together, **arguments)
        self.together = together
        self._renew = renew
        self._begins = False

    def _get_iterator(self) -> Any:
        # Without steps_per_epoch the iterator that Keras makes at an epoch's end is never used.
        if self._renew is not None and (self._begins or self.steps_per_epoch):
            self._renew()
        self._begins = False
        if backend.backend() == "jax":
            return self.data_adapter.get_jax_iterator()
        return self.data_adapter.get_numpy_iterator()

    def __next__(self) -> tuple[int, int, Iterator[Any]]:
        return next(self._epoch_iterator)

    def epoch(self) -> Iterator[tuple[int, int, Iterator[Any]]]:
        """One epoch: the numbers of the first and the last step, and their batches, in turn.

        A batch is read when it is asked for. Where the first one of some is asked for and there is
        none, the epoch ends, and a warning of Keras' says so.
        """
        self._begins = True
        for first, last, batches in self:
            counted = _Counted(itertools.islice(batches, self.together))
            yield first, last, counted
            if counted.count == 0:
                with self.catch_stop_iteration():
                    raise StopIteration
                return

    def look(self) -> Any:
        """The batch that Keras reads to build a model, None where there is none; then ``reset``."""
        for _, _, batches in self:
            return next(batches, None)
        return None


class _Counted(Iterator[Any]):
    """An iterator that counts what it has given."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self.count = 0

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


def py_dataset(epochs: Epochs) -> Any:
    """The ``keras.utils.PyDataset`` behind an iterator; None where there is another thing."""
    return getattr(epochs.data_adapter, "py_dataset", None)


def kind_of(epochs: Epochs) -> str:
    """What is behind an iterator, in words."""
    adapter = type(epochs.data_adapter).__name__
    return _KINDS.get(adapter, f"a stream (Keras' {adapter})")


def index_epochs(
    images: int,
    batch_size: int | None,
    steps: int | None,
    shuffle: Any,
    together: int,
    renew: Callable[[], None],
) -> Epochs:
    """Batches of indices of ``images`` images, int64 arrays, in the order that Keras would take.

    The random numbers come from NumPy's global state, as with Keras on JAX.
    """
    indices = np.arange(images, dtype=np.int64)
    return Epochs(
        indices, together, renew, batch_size=batch_size, steps_per_epoch=steps, shuffle=shuffle
    )


def adapter_epochs(adapter: Any, steps: int | None, together: int) -> Epochs:
    """The batches of one of Keras' data adapters, as NumPy arrays."""
    return Epochs(adapter, together, steps_per_epoch=steps)
