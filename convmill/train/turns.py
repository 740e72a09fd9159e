"""Who may work on a model's state: one run after the other, in the order in which they came.

A turn is for a set of keys: what the run reads and writes (Keras' variables, an optimizer, a
Program), each by its ``id``. Runs that share no key go side by side; models that share layers take
turns. A turn lasts for one run of native code with the copying before and behind it, and no code of
the user's runs within. So nobody who has the turn waits for anybody, and no wait is for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from convmill.threads import after_fork_in_child
from convmill.train import signals

Keys = frozenset[int]
LOOK_SECONDS = 0.05

# All turns of the process, running and waiting, in the order in which they came. There is no lock
# around it, which an interrupt could leave locked: appending and removing are one step each.
_line: list[Turn] = []


class _Here(threading.local):
    """This thread."""

    begun = 0  # turns


_here = _Here()


def begun() -> int:
    """How many turns this thread has begun so far."""
    return _here.begun


class Turn:
    """``with Turn(keys):`` waits until all that came earlier for one of these keys are done.

    ``keys`` may be what says them: where there are more of them once the turn has come, it is
    waited for anew, with those.
    In the main thread signals wait for its end; one that comes before it has begun is heard first.
    RuntimeError where this thread has a turn already, which only code that is called in the middle
    of a step can see.
    """

    def __init__(self, keys: Keys | Callable[[], Keys]) -> None:
        self._ask = keys if callable(keys) else None
        self.keys = keys() if callable(keys) else keys
        self.thread = threading.get_ident()
        self.begun = False
        self._moved: threading.Semaphore | None = None  # the line has moved; made by who waits

    def __enter__(self) -> Turn:
        if mine():
            raise RuntimeError(
                "convmill: a model was called from code that runs in the middle of a step of "
                "training or prediction. Call it from a callback, or from another thread."
            )
        _here.begun += 1
        while True:
            signals.hold()
            try:
                self.begun = self._wait()
                # Who goes before all now (``within``) sees that it has begun, or is seen.
                if self.begun and not self._has_more_keys() and not self._is_behind():
                    return self
            except BaseException:
                self.leave()
                raise
            self.leave()  # where a signal came, its handler may want a turn itself

    def _wait(self) -> bool:
        """Whether the turn has come; False where a signal came first."""
        _line.append(self)
        if not self._is_behind():
            return True
        moved = self._moved = threading.Semaphore(0)
        while self._is_behind():
            if signals.waiting():
                return False
            moved.acquire(timeout=LOOK_SECONDS)
        return True

    def _has_more_keys(self) -> bool:
        if self._ask is None:
            return False
        before, self.keys = self.keys, self._ask()
        return not self.keys <= before

    def _is_behind(self) -> bool:
        for other in _line.copy():
            if other is self:
                return False
            if other.keys & self.keys:
                return True
        return False

    def is_wanted(self) -> bool:
        """Whether somebody waits for this turn to end."""
        return any(other is not self and other.keys & self.keys for other in _line.copy())

    def leave(self) -> None:
        """Lets the next one in, and signals be heard; does nothing where that was done."""
        self.begun = False
        if self in _line:
            _line.remove(self)
            for other in _line.copy():
                if other._moved is not None:
                    other._moved.release()
        signals.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()


@contextmanager
def within(keys: Keys) -> Iterator[None]:
    """In the middle of a turn of this thread, one for keys that it may lack.

    It goes before all that wait; those that have begun end by themselves.
    """
    here = threading.get_ident()
    first = Turn(keys)
    _line.insert(0, first)
    try:
        while any(one.begun and one.thread != here and one.keys & keys for one in _line.copy()):
            time.sleep(LOOK_SECONDS / 10)
        yield
    finally:
        _line.remove(first)


def mine() -> list[Turn]:
    """The turns of this thread: at most one, unless leaving it was interrupted."""
    if not _line:
        return []
    thread = threading.get_ident()
    return [turn for turn in _line.copy() if turn.thread == thread]


def leave_interrupted(outer: list[Turn]) -> None:
    """Leaves the turns of this thread that an exception has kept from ending; ``outer`` are those
    under way."""
    for turn in mine():
        if turn not in outer:
            turn.leave()


def in_child(forget: Callable[[Keys], None]) -> None:
    """After a fork the child calls ``forget`` with the keys of runs that other threads were in:
    they will never end there, and what they worked on is half done."""
    _forgetting.append(forget)


_forgetting: list[Callable[[Keys], None]] = []


def _forget() -> None:
    here = threading.get_ident()
    lost: Keys = frozenset().union(*(one.keys for one in _line if one.thread != here))
    _line.clear()
    for forget in _forgetting:
        forget(lost)


after_fork_in_child(_forget)
