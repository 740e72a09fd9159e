"""``fit``: its arguments, checked and prepared for ``epochs.py``, which runs it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convmill.train import arguments as checks
from convmill.train.attach.batches import adapt
from convmill.train.epochs import Fit, Validation, run_fit
from convmill.train.feed import ArrayFeed
from convmill.train.frozen import FrozenBase
from convmill.train.hooks import hears_batches
from convmill.train.prepare import Feeds, Preparation, is_stream

if TYPE_CHECKING:
    from convmill.runtime.program import Kind


def prepare_fit(model: Any, arguments: dict[str, Any]) -> Callable[[], Any]:
    """Checks a call of ``fit``, and returns what runs it.

    Raises:
        NotCovered: Keras has to run it.
        ValueError: an argument, the model or the data make no sense.
    """
    ready = Preparation(model, arguments)
    given = arguments.get
    last, first = checks.epochs(given("epochs", 1), given("initial_epoch", 0))
    shuffle = checks.shuffle(given("shuffle", True))
    split = checks.validation_split(given("validation_split", 0.0) or 0.0)
    samples = (given("x"), given("y"), given("sample_weight"))
    held_out: Any = given("validation_data")
    if split and held_out is None:
        samples, held_out = _split(ready, samples, split)
    feed = ready.feed(
        *samples,
        batch_size=given("batch_size"),
        steps=given("steps_per_epoch"),
        steps_name="steps_per_epoch",
        shuffle=shuffle,
        class_weight=given("class_weight"),
    )
    validation = None
    if held_out is not None:
        validation = _validation(ready, arguments, *checks.validation_data(held_out))
    checks.verbosity(given("verbose", "auto"))
    ready.build_training(feed)
    base = _base(ready, feed, last - first)
    listed = checks.callbacks(given("callbacks"))
    _compile(ready, "training", base, heard=hears_batches(listed, "train"))
    if validation is not None:
        validation = replace(validation, base=_base(ready, validation.arrays, last - first))
        _compile(ready, "inference", validation.base, heard=hears_batches(listed, "test"))
    call = Fit(
        model=model,
        bound=ready.bind(),
        feed=feed,
        base=base,
        validation=validation,
        epochs=_capped(last),
        initial_epoch=first,
        callbacks=given("callbacks"),
        verbose=given("verbose", "auto"),
    )
    return lambda: run_fit(call)


def _validation(
    ready: Preparation, arguments: dict[str, Any], x: Any, y: Any, sample_weight: Any
) -> Validation:
    given = arguments.get
    every = checks.validation_freq(given("validation_freq", 1))
    size = checks.optional_whole("validation_batch_size", given("validation_batch_size"), 1)
    steps = checks.optional_whole("validation_steps", given("validation_steps"), 1)
    if is_stream(x):
        checks.batches("validation_data", x)
        return Validation(
            cache(lambda: ready.stream(adapt(x, y, sample_weight, None, False), steps)),
            every,
            stream=x,
        )
    size = size or checks.optional_whole("batch_size", given("batch_size"), 1)
    arrays = ready.arrays(x, y, sample_weight, size, steps)
    return Validation(lambda: arrays, every, arrays)


def _base(ready: Preparation, feed: Feeds | None, epochs: int) -> FrozenBase | None:
    """What computes a frozen base once for many epochs; None where they are not several of the
    same images."""
    if epochs < 2 or not isinstance(feed, ArrayFeed) or feed.keeps:
        return None
    return FrozenBase(ready.bind(), feed)


def _compile(ready: Preparation, kind: Kind, base: FrozenBase | None, heard: bool) -> None:
    """Native code for what is about to run."""
    if base is None or heard or not base.compile(kind):
        ready.compile(kind)


def _split(ready: Preparation, samples: tuple[Any, Any, Any], split: float) -> tuple[Any, Any]:
    """Training data and validation data: the last share ``split`` of the images."""
    if is_stream(samples[0]):
        raise ValueError(
            "validation_split needs arrays. Pass validation_data instead. "
            f"Received: x of type {type(samples[0]).__name__}, validation_split={split}"
        )
    whole = ready.take(*samples)
    at = int(np.floor(len(whole) * (1.0 - split)))
    if at in (0, len(whole)):
        raise ValueError(
            f"validation_split leaves no images to train or to validate on. "
            f"Received: validation_split={split} of {len(whole)} images"
        )
    return ready.interface.pack(whole.part(0, at)), ready.interface.pack(whole.part(at, len(whole)))


def _capped(epochs: int) -> int:
    """Keras' limit for trial runs, ``keras.config.set_max_epochs``."""
    most = keras.config.max_epochs()
    if most and most < epochs:
        warnings.warn(f"Limiting epochs to {most}", stacklevel=2)
        return int(most)
    return epochs
