"""Training beside reading: while one part of a stream is trained, the next one is read.

Training goes on in a thread of its own, and the user's code stays in the thread that has called
``fit``: there it hears signals, and it may ask the model something, between two steps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convmill.train import signals
from convmill.train.bound import Bound
from convmill.train.feed import Part, Uncovered
from convmill.train.keeping import NOTHING, Keeping
from convmill.train.part import add, make_ready, train_part
from convmill.train.progress import Progress
from convmill.train.scores import Scores
from convmill.train.turns import begun, leave_interrupted, mine

if TYPE_CHECKING:
    from convmill.runtime.program import Measured

LOOK_SECONDS = 0.05


class _Abandoned(Exception):
    """Nobody waits for what is being trained."""


class _Run:
    """A part that is trained in a thread of its own, and how far that is: all of it, or as much as
    may be trained at once."""

    def __init__(self, bound: Bound, part: Part, scores: Scores, keeping: Keeping) -> None:
        self.bound, self.whole, self.keeping = bound, part, keeping
        self.part = part = keeping.room(part)
        self.outputs = make_ready(bound, part, scores)
        # Read here: a stream may set another rate for what it gives next.
        self.rates = bound.rates(part)
        self.measured: Measured | None = None
        self.error: BaseException | None = None
        self.abandoned = False
        # Of a call in a handler, or in another thread than the main one, no handler is waited for.
        self.heeds = signals.may_interrupt()
        self.is_over = False
        self._over = threading.Lock()
        self._over.acquire()
        self.thread = threading.Thread(target=self._train, name="convmill fit", daemon=True)

    def _train(self) -> None:
        try:
            self.measured = self.bound.train(
                self.part,
                self.outputs,
                self._watch,
                rates=self.rates,
                before=self._before,
                until=self.keeping.is_wanted,
            )
        except BaseException as error:
            self.error = error
        finally:
            self.is_over = True
            self._over.release()

    def _before(self) -> None:
        """Before each turn: what a signal's handler does comes first, all of it."""
        while self.heeds and not self.abandoned and not signals.quiet(LOOK_SECONDS):
            pass
        if self.abandoned:
            raise _Abandoned

    def _watch(self, measured: Measured) -> None:
        """Some twenty times a second."""
        if self.abandoned:
            raise _Abandoned
        self.keeping.guard.look(measured)
        self.measured = measured

    def wait(self) -> bool:
        """Whether it is over, now or soon."""
        if not self.is_over:
            self._over.acquire(timeout=LOOK_SECONDS)
        return self.is_over


class Beside:
    """Trains parts one behind the other, each while the next one is read."""

    def __init__(
        self, bound: Bound, scores: Scores, progress: Progress, keeping: Keeping = NOTHING
    ) -> None:
        self.bound, self.scores, self.progress = bound, scores, progress
        self.keeping = keeping
        self._run: _Run | None = None
        self._begun, self._outer = begun(), mine()

    def __call__(self, part: Part | Uncovered) -> None:
        """Begins with a part when the one before is done.

        It is done at once where it lies in arrays that the stream may fill anew, where Keras' code
        takes part in its steps, or where the stream has asked a model something since the last one:
        the next answer should be that of trained weights.
        """
        asked = begun() != self._begun
        self.finish()
        bound = self.bound
        if self.keeping.guard.has_found:
            return
        if isinstance(part, Uncovered) or not part.copied or bound.bridged or bound.losses:
            train_part(bound, part, self.scores, self.progress, self.keeping)
        else:
            self._start(part)
            if asked:
                self.finish()
        self._begun = begun()

    def _start(self, part: Part) -> None:
        self._run = _Run(self.bound, part, self.scores, self.keeping)
        try:
            self._run.thread.start()
        except RuntimeError:  # the system has no thread to give
            self._run = None
            train_part(self.bound, part, self.scores, self.progress, self.keeping)

    def finish(self) -> None:
        """Waits until the part at hand is done, shows how far it is, and counts it."""
        while self._run is not None:
            self._finish(self._run)

    def _finish(self, run: _Run) -> None:
        """The same for a run, which may leave some of the part; that goes on then."""
        over = False
        while not over:
            over = run.wait()
            if not over and not run.thread.is_alive() and not run.is_over:
                self._run = None
                raise RuntimeError(
                    "This process was forked while the one before was training: the training goes "
                    "on there, and has no thread here. Make the processes that read data by spawn."
                )
            if run.measured is not None and self.progress.wants_update():
                self.progress.update(*self.scores.preview(run.part, run.measured))
        self._run = None
        if run.error is not None:
            raise run.error
        assert run.measured is not None
        add(run.part, run.measured, run.outputs, self.scores)
        self.keeping.guard.check(run.part, run.measured, self.bound)
        left = run.whole.behind(run.measured.steps)
        self.keeping.add(run.measured.steps, self.bound)
        if left.steps and not self.keeping.guard.has_found:
            self._start(left)

    def abandon(self) -> None:
        """Stops behind the step that is at hand, and waits for that."""
        run = self._run
        if run is None:
            return
        run.abandoned = True
        while run.thread.is_alive() and not run.wait():
            pass

    def leave_interrupted(self) -> None:
        """Leaves turns of this thread for which training would wait."""
        leave_interrupted(self._outer)


@contextmanager
def beside(
    bound: Bound, scores: Scores, progress: Progress, keeping: Keeping = NOTHING
) -> Iterator[Beside]:
    """What trains beside reading. Where that fails, all that was read before is trained; where it
    is interrupted, training stops behind the step that it is in."""
    training = Beside(bound, scores, progress, keeping)
    try:
        try:
            yield training
            training.finish()
        except Exception:
            training.leave_interrupted()
            training.finish()
            raise
    except BaseException:
        training.leave_interrupted()
        training.abandon()
        raise
