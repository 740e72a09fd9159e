"""The epochs of one ``fit``: native steps, with Keras' callbacks, logs and History."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from convmill.train.attach.steps import initial_epoch
from convmill.train.beside import beside
from convmill.train.bound import Bound
from convmill.train.checkpoint import data
from convmill.train.checkpoint.callback import Checkpoint
from convmill.train.checkpoint.keeper import Keeper
from convmill.train.checkpoint.run import Run
from convmill.train.checkpoint.variables import kinds
from convmill.train.evaluate import Measuring, measure
from convmill.train.feed import ArrayFeed, BadBatch, held
from convmill.train.frozen import FrozenBase
from convmill.train.guard import Guard, StopOnNaN
from convmill.train.hooks import hears_batches
from convmill.train.keeping import Keeping, Start
from convmill.train.part import train_part
from convmill.train.prepare import Feeds
from convmill.train.progress import Progress, progress_for
from convmill.train.scores import Scores
from convmill.train.turns import leave_interrupted, mine


@dataclass(frozen=True)
class Validation:
    """What to validate with, and after which epochs.

    ``open`` gives the same feed each time. Keras opens a stream behind the first epoch, not before.
    """

    open: Callable[[], Feeds]
    every: Any  # a number of epochs, or a list of epochs counted from 1
    arrays: ArrayFeed | None = None  # what it opens, where that is no stream
    stream: Any = None  # what was given, where it is one
    base: FrozenBase | None = None

    def is_due(self, epoch: int) -> bool:
        """Whether epoch, counted from 0, ends with validation."""
        if isinstance(self.every, list):
            return epoch + 1 in self.every
        return bool((epoch + 1) % self.every == 0)


@dataclass(frozen=True)
class Fit:
    """Everything that one call of ``fit`` goes by."""

    model: Any
    bound: Bound
    feed: Feeds
    base: FrozenBase | None
    validation: Validation | None
    epochs: int
    initial_epoch: int
    callbacks: Any
    verbose: Any


def run_fit(call: Fit) -> Any:
    """Trains; returns the model's History."""
    model = call.model
    call.feed.reset()
    callbacks, shows = _callback_list(call)
    model.stop_training = False
    scores = Scores(call.bound)
    keeping = _keeping(call, callbacks, scores)
    shown = progress_for(call.verbose if shows else 0, call.epochs)
    held_out = None if call.validation is None else call.validation.arrays
    with closing(keeping), held(call.feed, held_out), shown as progress:
        if shows:
            callbacks.callbacks.append(_Summary(progress))
        keeping.prepare()
        callbacks.on_train_begin()
        start = keeping.start(initial_epoch(model, call.initial_epoch))
        logs = _epochs(call, start, callbacks, scores, progress, keeping)
        callbacks.on_train_end(logs=logs)
        keeping.end()
    # Another thread's fit on this model has a history too, and ``model.history`` is the last one.
    own = (one for one in callbacks.callbacks if isinstance(one, keras.callbacks.History))
    return next(own, model.history)


def _epochs(
    call: Fit,
    start: Start,
    callbacks: Any,
    scores: Scores,
    progress: Progress,
    keeping: Keeping,
) -> dict[str, Any]:
    """All epochs from ``start`` on; the logs of the last one."""
    outer, logs = mine(), start.logs
    try:
        for epoch in range(start.epoch, call.epochs):
            logs = _epoch(call, epoch, callbacks, scores, progress, keeping)
            keeping.end_epoch(logs)
            if call.model.stop_training:
                break
        keeping.finish()
    finally:  # as in Keras: moving averages take the places of weights
        leave_interrupted(outer)
        call.bound.finish()
    return logs


class _Summary(keras.callbacks.Callback):
    """Says how an epoch went: the last of all callbacks, some of which add to the logs."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.progress.end(logs or {})


def _keeping(call: Fit, callbacks: Any, scores: Scores) -> Keeping:
    """Who keeps checkpoints of the run, if one of the callbacks is for that."""
    guards = [one for one in callbacks.callbacks if isinstance(one, StopOnNaN)]
    guard = Guard(call.model, guards[0] if guards else None)
    found = [one for one in callbacks.callbacks if isinstance(one, Checkpoint)]
    if not found:
        return Keeping(guard)
    if len(found) > 1:
        raise ValueError(f"One Checkpoint is enough. Received: {len(found)} of them")
    listed = [one for one in callbacks.callbacks if not isinstance(one, _Summary)]
    run = Run(
        call.model,
        call.bound,
        scores,
        listed,
        data.owner(call.feed),
        None if call.validation is None else data.owner_of(call.validation.stream),
        _facts(call),
        call.epochs,
        bool(call.verbose),
    )
    return Keeper(found[0], run, guard)


def _facts(call: Fit) -> dict[str, Any]:
    """What must be the same where another process goes on with a run."""
    held_out = call.validation
    found = data.facts(call.feed)
    found |= data.facts_of_validation(
        None if held_out is None else held_out.arrays, None if held_out is None else held_out.stream
    )
    optimizer = type(call.model.optimizer).__name__
    return found | {"weights": kinds(call.model), "optimizer": optimizer}


@contextmanager
def _told(epoch: int, scores: Scores, name: str) -> Iterator[None]:
    """Says of bad data that nobody could know of before the run what state they leave."""
    try:
        yield
    except BadBatch as error:
        kept = "nothing was trained before it"
        if scores.trained:
            were = "1 batch was" if scores.trained == 1 else f"{scores.trained} batches were"
            kept = f"{were} trained before it, and the model keeps what it learned from them"
        place = f"In epoch {epoch + 1}, {error.place(name)} ({kept})"
        raise ValueError(f"{place}: {error.error}") from error


def _callback_list(call: Fit) -> tuple[Any, bool]:
    """Keras' list of callbacks, and whether progress is ours to show."""
    if isinstance(call.callbacks, keras.callbacks.CallbackList):
        return call.callbacks, False
    callbacks = keras.callbacks.CallbackList(
        call.callbacks,
        add_history=True,
        add_progbar=False,
        verbose=call.verbose,
        epochs=call.epochs,
        steps=call.feed.steps,
        model=call.model,
    )
    displays = (isinstance(one, keras.callbacks.ProgbarLogger) for one in callbacks.callbacks)
    return callbacks, not any(displays)


def _epoch(
    call: Fit,
    epoch: int,
    callbacks: Any,
    scores: Scores,
    progress: Progress,
    keeping: Keeping,
) -> dict[str, Any]:
    """One epoch with its validation; the logs of both."""
    midway = keeping.is_midway(epoch)
    if not midway:
        scores.reset()
        callbacks.on_epoch_begin(epoch)
    call.bound.reread()  # a callback may have frozen layers, or set another loss
    scores.follow()
    if midway:
        keeping.restore_scores()
    progress.begin(epoch, call.feed.images, call.feed.steps)
    if midway:
        progress.go_on(scores.totals.images, keeping.done)
    if not keeping.is_over():
        with _told(epoch, scores, "data"):
            _train(call, epoch, callbacks, scores, progress, keeping)
        keeping.end_steps(call.bound)
    if scores.totals.images == 0:
        raise ValueError(
            f"x gave no batch for epoch {epoch + 1} of {call.epochs}. Let the generator go on "
            "for ever and give steps_per_epoch, or pass a PyDataset."
        )
    logs = scores.logs()
    images = scores.totals.images
    if call.validation is not None and call.validation.is_due(epoch):
        feed = call.validation.open()
        feed.reset()
        base = call.validation.base
        measuring = Measuring(call.model, call.bound, feed, scores, callbacks, Progress(), base)
        with _told(epoch, scores, "validation data"):
            validated = measure(measuring)
        logs |= {f"val_{name}": value for name, value in validated.items()}
    progress.worked(images)
    callbacks.on_epoch_end(epoch, logs)
    return logs


def _train(
    call: Fit,
    epoch: int,
    callbacks: Any,
    scores: Scores,
    progress: Progress,
    keeping: Keeping,
) -> None:
    """The steps of one epoch, with batch hooks where a callback has them."""
    model, bound = call.model, call.bound
    hooked = hears_batches(callbacks.callbacks, "train")
    heard = hooked or model.stop_training
    if call.base is not None:
        bound = call.base.begin(progress, heard)
    keeping.begin_steps(epoch, heard)
    keeping.guard.begin(bound, epoch, keeping.done)
    if not heard:
        with beside(bound, scores, progress, keeping) as train:
            for execution in call.feed.epoch(whole=True):
                for part in keeping.remaining(execution.parts):
                    train(part)
                    if keeping.guard.has_found:
                        break
        bound.push()
        return
    for execution in call.feed.epoch(whole=False):
        if keeping.is_done(execution):
            continue
        if hooked:
            callbacks.on_train_batch_begin(execution.first)
            scores.catch_up()
        keeping.guard.begin(bound, epoch, execution.first)
        there = False
        for part in execution.parts:
            there = True
            train_part(bound, part, scores, progress, keeping)
        if hooked and there:
            bound.push()
            callbacks.on_train_batch_end(execution.last, scores.logs())
        if there:
            keeping.end_execution(bound, bool(model.stop_training))
        if model.stop_training:
            break
    bound.push()
