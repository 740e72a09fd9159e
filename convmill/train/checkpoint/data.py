"""Which data a run can go on with in the midst of an epoch, and what tells them from others.

The steps that are done are gone through again without training: arrays give their order anew from
the random states before the epoch, a ``PyDataset`` its batches by number. What else there is of
streams cannot be wound back.
"""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

from convmill.train import attach
from convmill.train.checkpoint.objects import Owner, tells
from convmill.train.feed import ArrayFeed, StreamFeed

_GENERATORS: tuple[type, ...] = (np.random.Generator, np.random.RandomState, random.Random)
_GENERATORS += (keras.random.SeedGenerator,)
_HOOKS = ("on_epoch_begin", "on_epoch_end")


def facts(feed: ArrayFeed | StreamFeed) -> dict[str, Any]:
    """What must be the same where another process goes on. ValueError where none can."""
    if isinstance(feed, StreamFeed):
        return _facts_of_stream(feed)
    if feed.keeps:
        raise _refused("arrays with steps_per_epoch", "leave steps_per_epoch out")
    return {"images": feed.images, "batch_size": feed.batch_size, "shuffle": feed.shuffle}


def check_validation(stream: Any) -> None:
    """ValueError where validation data cannot be wound back; None stands for arrays."""
    if stream is not None:
        dataset = stream if isinstance(stream, keras.utils.PyDataset) else None
        if dataset is None or (_moves(dataset) and not tells(dataset)):
            what = f"validation data of type {type(stream).__name__}"
            raise _refused(
                what,
                "pass arrays, or a PyDataset whose batches go by their number, or that has a "
                "state_dict() and a load_state_dict(state)",
            )


def owner(feed: ArrayFeed | StreamFeed) -> Owner | None:
    """Who keeps the state of the data, where they have one."""
    return owner_of(attach.py_dataset(feed.epochs))


def owner_of(dataset: Any) -> Owner | None:
    """The same for a data set; None stands for arrays."""
    return Owner(dataset, "data set") if dataset is not None and tells(dataset) else None


def _facts_of_stream(feed: StreamFeed) -> dict[str, Any]:
    dataset = attach.py_dataset(feed.epochs)
    if dataset is None:
        raise _refused("a stream", "pass arrays, or a PyDataset, which gives batches by number")
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
