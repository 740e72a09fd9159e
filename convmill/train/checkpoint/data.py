"""Which data a run can go on with in the midst of an epoch, and what tells them from others.

The steps that are done are gone through again without training: arrays give their order anew from
the random states before the epoch, a ``PyDataset`` its batches by number. What else there is of
streams cannot be wound back. Arrays are told from others by checksums, of those that are large of a
part; the batches of a ``PyDataset`` are not looked at, which may take long to make.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import keras
import numpy as np

from convmill.train.attach.batches import kind_of, py_dataset
from convmill.train.checkpoint.objects import Owner, tells
from convmill.train.feed import ArrayFeed, StreamFeed

_GENERATORS: tuple[type, ...] = (np.random.Generator, np.random.RandomState, random.Random)
_GENERATORS += (keras.random.SeedGenerator,)
_LOOKED_AT = 1 << 23  # bytes of an array that go into its checksum
_HOOKS = ("on_epoch_begin", "on_epoch_end")


def facts(feed: ArrayFeed | StreamFeed) -> dict[str, Any]:
    """What must be the same where another process goes on. ValueError where none can."""
    if isinstance(feed, StreamFeed):
        return _facts_of_stream(feed)
    if feed.keeps:
        raise _refused("arrays with steps_per_epoch", "leave steps_per_epoch out")
    found = {"images": feed.images, "batch_size": feed.batch_size, "shuffle": feed.shuffle}
    return found | {"the checksum of x, y and sample_weight": _checksums(feed)}


def facts_of_validation(arrays: ArrayFeed | None, stream: Any) -> dict[str, Any]:
    """The same for validation data, which are arrays, or a stream, or None are there. ValueError
    where they cannot be wound back."""
    if stream is not None:
        dataset = stream if isinstance(stream, keras.utils.PyDataset) else None
        if dataset is None or (_moves(dataset) and not tells(dataset)):
            what = f"validation data of type {type(stream).__name__}"
            raise _refused(
                what,
                "pass arrays, or a PyDataset whose batches go by their number, or that has a "
                "state_dict() and a load_state_dict(state)",
            )
        return {"validation data": type(stream).__name__}
    return {"the checksum of validation data": None if arrays is None else _checksums(arrays)}


def _checksums(feed: ArrayFeed) -> list[int]:
    return list(map(_checksum, feed.arrays.given.arrays))


def _checksum(array: np.ndarray) -> int:
    """CRC-32 of an array, or of rows that are evenly spread over one that is large."""
    rows = max(1, _LOOKED_AT * len(array) // max(1, array.nbytes))
    if rows < len(array):
        array = array[np.linspace(0, len(array) - 1, rows, dtype=np.int64)]
    kind = f"{array.dtype.name} {array.shape}".encode()
    return zlib.crc32(np.ascontiguousarray(array).tobytes(), zlib.crc32(kind))


def owner(feed: ArrayFeed | StreamFeed) -> Owner | None:
    """Who keeps the state of the data, where they have one."""
    return owner_of(py_dataset(feed.epochs))


def owner_of(dataset: Any) -> Owner | None:
    """The same for a data set; None stands for arrays."""
    return Owner(dataset, "data set") if dataset is not None and tells(dataset) else None


def _facts_of_stream(feed: StreamFeed) -> dict[str, Any]:
    dataset = py_dataset(feed.epochs)
    if dataset is None:
        raise _refused(
            kind_of(feed.epochs),
            "pass arrays, or a PyDataset, which gives batches by number; whole epochs of others "
            "are kept by keras.callbacks.BackupAndRestore",
        )
    name = type(dataset).__name__
    if feed.steps != dataset.num_batches:
        raise _refused(f"{name} with steps_per_epoch, or without end", "leave steps_per_epoch out")
    if _moves(dataset) and not tells(dataset):
        raise _refused(
            f"{name}, which changes from epoch to epoch or draws random numbers of its own",
            "give it a state_dict() and a load_state_dict(state)",
        )
    return {
        "data": name,
        "batches": feed.steps,
        "shuffle": bool(feed.epochs.data_adapter.shuffle),
    }


def _moves(dataset: Any) -> bool:
    """Whether a data set may give other batches by the same numbers later."""
    plain = keras.utils.PyDataset
    hooks = any(getattr(type(dataset), name) is not getattr(plain, name) for name in _HOOKS)
    return hooks or any(isinstance(value, _GENERATORS) for value in vars(dataset).values())


def _refused(received: str, instead: str) -> ValueError:
    return ValueError(
        "Checkpoint goes on in the midst of an epoch, which takes data that can be wound back: "
        f"{instead}. Received: {received}"
    )
