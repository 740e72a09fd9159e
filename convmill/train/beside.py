"""Training beside reading: while one part of a stream is trained, the next one is read.

Training goes on in a thread of its own, and the user's code stays in the thread that has called
``fit``: there it hears signals, and it may ask the model something, between two steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convmill.train.bound import Bound
from convmill.train.feed import Part, Uncovered
from convmill.train.part import add, make_ready, train_part
from convmill.train.pieces import Outputs
from convmill.train.progress import Progress
from convmill.train.scores import Scores
from convmill.train.turns import begun, leave_interrupted, mine

if TYPE_CHECKING:
    from convmill.runtime.program import Measured

LOOK_SECONDS = 0.05


class _Abandoned(Exception):
    """Nobody waits for what is being trained."""


@dataclass
class _Run:
    """A part that is being trained, and what is done of it."""

    part: Part
    outputs: Outputs | None
    measured: Measured | None = None
    abandoned: bool = False

    def watch(self, measured: Measured) -> None:
        """Called by the thread that trains, some twenty times a second."""
        if self.abandoned:
            raise _Abandoned
        self.measured = measured


class Beside:
    """Trains parts one behind the other, each while the next one is read."""

    def __init__(
        self, bound: Bound, scores: Scores, progress: Progress, pool: ThreadPoolExecutor
    ) -> None:
        self.bound, self.scores, self.progress = bound, scores, progress
        self._pool = pool
        self._run: _Run | None = None
        self._future: Future[Measured] | None = None
        self._begun, self._outer = begun(), mine()

    def __call__(self, part: Part | Uncovered) -> None:
        """Begins with a part when the one before is done.

        It is done at once where it lies in arrays that the stream may fill anew, where Keras' code
        takes part in its steps, or where the stream has asked a model something since the last one:
        the next answer should be that of trained weights.
        """
        self.finish()
        asked = begun() != self._begun
        bound = self.bound
        if isinstance(part, Uncovered) or not part.copied or bound.bridged or bound.losses:
            train_part(bound, part, self.scores, self.progress)
        else:
            self._start(part)
            if asked:
                self.finish()
        self._begun = begun()

    def _start(self, part: Part) -> None:
        run = self._run = _Run(part, make_ready(self.bound, part, self.scores))
        try:
            self._future = self._pool.submit(self.bound.train, part, run.outputs, run.watch)
        except RuntimeError:  # the system has no thread to give
            self._run = None
            train_part(self.bound, part, self.scores, self.progress)

    def finish(self) -> None:
        """Waits until the part at hand is done, shows how far it is, and counts it."""
        run, future = self._run, self._future
        if run is None or future is None:
            return
        while wait([future], LOOK_SECONDS).not_done:
            if run.measured is not None and self.progress.wants_update():
                self.progress.update(*self.scores.preview(run.part, run.measured))
        self._run = self._future = None
        add(run.part, future.result(), run.outputs, self.scores)

    def abandon(self) -> None:
        """Stops behind the step that is at hand."""
        leave_interrupted(self._outer)  # training would wait for them
        if self._run is not None:
            self._run.abandoned = True


@contextmanager
def beside(bound: Bound, scores: Scores, progress: Progress) -> Iterator[Beside]:
    """What trains beside reading. Where that fails, all that was read before is trained; where it
    is interrupted, training stops behind the step that it is in."""
    with ThreadPoolExecutor(1, "convmill") as pool:
        training = Beside(bound, scores, progress, pool)
        try:
            yield training
            training.finish()
        except Exception:
            training.finish()
            raise
        except BaseException:
            training.abandon()
            raise
