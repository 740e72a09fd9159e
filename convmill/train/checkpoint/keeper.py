"""Keeps the state of one ``fit`` in checkpoints, and takes it up again in another process.

A state is taken between two steps: copies of all that a step may change, Keras' own steps among
them, which on JAX delete the arrays that they begin with. The writing is done beside the training.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras

from convmill.printing import say
from convmill.reasons import reason_of
from convmill.train.bound import Bound
from convmill.train.checkpoint import chance, variables
from convmill.train.checkpoint.callback import Checkpoint
from convmill.train.checkpoint.folder import Folder
from convmill.train.checkpoint.last_words import LastWords
from convmill.train.checkpoint.objects import Owner, continue_log
from convmill.train.checkpoint.run import Position, Run, check_facts
from convmill.train.checkpoint.writer import Writer
from convmill.train.feed import Execution, Part, Uncovered
from convmill.train.guard import Guard
from convmill.train.keeping import Keeping, Start


class Keeper(Keeping):
    """Keeps checkpoints of one run."""

    def __init__(self, checkpoint: Checkpoint, run: Run, guard: Guard) -> None:
        super().__init__(guard)
        self._checkpoint, self._run = checkpoint, run
        self._every = checkpoint.every
        self._folder = Folder(checkpoint.directory, checkpoint.keep)
        self._writer = Writer(self._folder)
        self._last_words = LastWords(lambda: self._holds, self._write_last)
        self._owners: list[Owner] = []
        self._found: dict[str, Any] | None = None  # of another process, until it is taken up
        self._before: list[Any] = []  # the variables as they were, until all is taken up
        self._at = Position(0)
        self._logs: dict[str, Any] = {}
        # The random states, and that of the data, before the steps of this epoch.
        self._chance_before: Any = None
        self._data_before: Any = None
        self._skip = 0  # steps of this epoch that another process has done
        self._holds = True  # signals wait
        self._has_ended = False
        self._latest: Any = None  # the state of the last whole place outside of steps
        self._due = self._next_time()

    # The beginning ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Before callbacks hear of the run."""
        super().prepare()
        self._last_words.listen()
        self._folder.take()
        newest = self._folder.newest()
        if newest is not None:
            path, found = newest
            with self._understood():
                check_facts(path, found["facts"], self._facts())
                self._found = found
                self._tell(path, Position(**found["position"]))
                for one, (_, state) in zip(self._kept_callbacks(), found["callbacks"], strict=True):
                    if isinstance(one, keras.callbacks.CSVLogger):
                        continue_log(one, state)
        self._checkpoint.kept_by = self

    def start(self, epoch: int) -> Start:
        """Where the run begins, which was to be ``epoch``; the state is that of then."""
        self._owners = [Owner(one, "callback") for one in self._kept_callbacks()]
        self._at = Position(epoch)
        found = self._found
        if found is not None:
            self._at = Position(**found["position"])
            self._take_up(found)
            if not self._at.begun:
                self._found, self._before = None, []
        self._latest = self._state()
        ends = self._run.model.stop_training and not self._at.begun
        first = self._run.epochs if ends else self._at.epoch
        if first >= self._run.epochs and self._folder.has_ended:
            raise ValueError(
                "The training of which this folder holds checkpoints has ended. Give the next one "
                f"a folder of its own, or more epochs. Received: {self._folder.path}"
            )
        self._holds = False
        self._last_words.hear()
        return Start(first, self._logs)

    def _take_up(self, found: dict[str, Any]) -> None:
        """Puts back what another process has kept, all of it, or the variables are as they were."""
        run = self._run
        self._before = variables.state(run.model, run.bound, run.bound)
        with self._all_or_nothing():
            variables.restore(run.model, run.bound, found["variables"])
            for owner, (_, state) in zip(self._owners, found["callbacks"], strict=True):
                owner.restore(state)
            run.model.stop_training = found["stop"]
            self._logs, self._chance_before = found["logs"], found["chance before"]
            self._data_before = found["data before"]
            _restore(run.data, found["data"])
            _restore(run.held_out, found["validation data"])
            chance.restore(found["chance"])

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What cannot be taken up leaves the variables as they were."""
        try:
            with self._understood():
                yield
        except BaseException:
            variables.restore(self._run.model, self._run.bound, self._before)
            raise

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """A checkpoint whose checksum is right may still hold what none of ours does."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if "Received: " in str(error):  # our own words
                raise
            raise ValueError(
                f"A checkpoint in {self._folder.path} cannot be used: {reason_of(error)}. Give "
                "another folder to begin anew."
            ) from error

    def is_midway(self, epoch: int) -> bool:
        """Whether an epoch goes on that an earlier process has begun."""
        return self._found is not None

    def restore_scores(self) -> None:
        """What that one has counted of the epoch is counted."""
        assert self._found is not None
        with self._all_or_nothing():
            self._run.scores.restore(self._found["counted"])

    def is_over(self) -> bool:
        """Whether the steps of the epoch at hand were all done by an earlier process."""
        if self._found is None or not self._at.over:
            return False
        self._found, self._before = None, []
        return True

    # Steps --------------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Steps of the epoch at hand that are done."""
        return self._at.steps

    def begin_steps(self, epoch: int, heard: bool) -> None:
        """The steps of an epoch begin, or go on: those that are done are gone through again, from
        the random states before them."""
        if self._found is not None:
            if heard != self._at.heard:
                raise ValueError(
                    "A callback that hears of batches was not there before, or is not there now. "
                    f"Go on with the same callbacks. Received: {self._run.callbacks!r}"
                )
            self._skip = self._at.steps
            with self._all_or_nothing():
                _restore(self._run.data, self._data_before)
                chance.restore(self._chance_before)
            self._before = []
        else:
            self._chance_before = chance.states()
            self._data_before = _state_of(self._run.data)
            self._at = replace(self._at, epoch=epoch, steps=0, begun=True, over=False, heard=heard)
        self._holds = True

    def remaining(self, parts: Iterable[Part | Uncovered]) -> Iterator[Part | Uncovered]:
        """Those of an epoch's parts that are still to be trained."""
        for part in parts:
            steps = 1 if isinstance(part, Uncovered) else part.steps
            if steps <= self._skip:
                self._skip -= steps
            elif isinstance(part, Part) and self._skip:
                first, self._skip = self._skip, 0
                yield part.behind(first)
            else:
                yield part
        self._found = None

    def is_done(self, execution: Execution) -> bool:
        """Whether an earlier process has done these steps; then its batches are read, as that one
        has read them, and the random states behind them are its own."""
        if not self._skip:
            self._found = None
            return False
        for part in execution.parts:
            self._skip -= 1 if isinstance(part, Uncovered) else part.steps
        if self._skip <= 0 and self._found is not None:
            chance.restore(self._found["chance"])
        return True

    def room(self, part: Part) -> Part:
        """As much of a part as may be trained at once."""
        every = self._every.steps
        if every is None or self._at.heard:
            return part
        return part.until(every - self._at.total % every)

    def is_wanted(self) -> bool:
        """Whether training is to stop behind the step that it is in; asked by any thread."""
        wanted = self._last_words.is_waiting or self._is_time()
        return super().is_wanted() or (wanted and not self._at.heard)

    def add(self, steps: int, bound: Bound) -> None:
        """So many steps are done, and counted."""
        at = self._at
        self._at = replace(at, steps=at.steps + steps, total=at.total + steps)
        if not self._at.heard and steps:
            self._look(bound)

    def end_execution(self, bound: Bound, stopped: bool) -> None:
        """Callbacks have heard of a batch; ``stopped`` is whether it was the epoch's last."""
        self._at = replace(self._at, over=stopped)
        self._look(bound)

    def _look(self, bound: Bound) -> None:
        """Between two steps: writes a checkpoint if it is time."""
        if self.guard.has_found:  # the place before is the last one to go on from
            self._last_words.hear()
        elif self._last_words.is_waiting:
            self._take(bound)
            self._last_words.hear()
        elif self._is_time() or self._is_step():
            self._take(bound)
            self._writer.begin(self._latest)

    def _take(self, bound: Bound) -> None:
        self._latest = self._state(bound)
        self._due = self._next_time()

    def _is_time(self) -> bool:
        return time.monotonic() >= self._due and not self._writer.is_busy

    def _is_step(self) -> bool:
        every, at = self._every.steps, self._at
        if every is None:
            return False
        if at.heard:  # several steps may lie between two looks
            return at.total // every > self._latest["position"]["total"] // every
        return at.total % every == 0

    def _next_time(self) -> float:
        seconds = self._every.seconds
        return float("inf") if seconds is None else time.monotonic() + seconds

    # The ends -----------------------------------------------------------------------------------

    def end_steps(self, bound: Bound) -> None:
        """The steps of an epoch are done, and Keras' variables have what they changed."""
        if self._skip:
            raise ValueError(
                f"The data have too few batches in epoch {self._at.epoch + 1}: the run that is "
                f"gone on with had made {self._at.steps} steps of it."
            )
        self._found = None
        self._at = replace(self._at, over=True)
        self._latest = self._state()
        self._holds = False
        self._last_words.hear()

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Callbacks have heard of the end of an epoch."""
        at = self._at
        self._logs = dict(logs)
        self._at = Position(at.epoch + 1, total=at.total)
        self._latest = self._state()
        if self._is_time():
            self._due = self._next_time()
            self._writer.begin(self._latest)

    def finish(self) -> None:
        """The last epoch is done: its state is kept for good. From here on signals wait until the
        folder is free again."""
        self._holds = True
        self._writer.begin(self._latest)
        self._writer.wait()

    def end(self) -> None:
        """Callbacks have heard of the end: there is nothing more to go on with."""
        self._has_ended = True

    def _write_last(self) -> None:
        if self._latest is None:
            return
        self._writer.begin(self._latest)
        self._writer.wait()

    def close(self) -> None:
        """The run has ended, in whichever way; signals are heard once that is done."""
        self._holds = True
        super().close()
        try:
            self._writer.wait()
        finally:
            if self._checkpoint.kept_by is self:
                self._checkpoint.kept_by = None
            self._folder.leave()
            self._last_words.end()
        if self._has_ended:
            self._folder.end()

    # The state ----------------------------------------------------------------------------------

    def _state(self, training: Bound | None = None) -> dict[str, Any]:
        """The state of now: plain values, and arrays that nobody changes any more. ``training`` is
        what has made the steps, where Keras' variables may not have them."""
        run = self._run
        return {
            "facts": self._facts(),
            "position": asdict(self._at),
            "variables": variables.state(run.model, run.bound, training or run.bound),
            "counted": run.scores.state(),
            "callbacks": [[owner.kind, owner.state()] for owner in self._owners],
            "chance": chance.states(),
            "chance before": self._chance_before,
            "data": _state_of(run.data),
            "validation data": _state_of(run.held_out),
            "data before": self._data_before,
            "logs": dict(self._logs),
            "stop": bool(run.model.stop_training),
        }

    def _facts(self) -> dict[str, Any]:
        kinds = [type(one).__qualname__ for one in self._kept_callbacks()]
        return self._run.facts | {"callbacks": kinds}

    def _kept_callbacks(self) -> list[Any]:
        """The callbacks that may have a state of their own, in their order."""
        shown = (Checkpoint, keras.callbacks.ProgbarLogger)
        return [one for one in self._run.callbacks if not isinstance(one, shown)]

    def _tell(self, path: Path, at: Position) -> None:
        if self._run.says:
            where = f"epoch {at.epoch + 1}, step {at.steps}" if at.begun else f"epoch {at.epoch}"
            say(f"convmill: going on behind {where}, from {path}", sys.stderr)


def _state_of(owner: Owner | None) -> Any:
    return None if owner is None else owner.state()


def _restore(owner: Owner | None, state: Any) -> None:
    if owner is not None:
        owner.restore(state)
