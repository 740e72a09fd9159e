"""Running native code on several threads, while the calling thread looks at it now and then.

Threads live on between runs, parked: they wait for a lock and take no time. Each run takes those
that are free and starts what is missing, so that all threads of a run are there at once (native
code has barriers) however many runs there are side by side. They end with the process; after a
fork the child, which has none of them, starts its own.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable

from convmill.runtime.jit import Compiled
from convmill.runtime.memory import Context
from convmill.threads import after_fork_in_child

LOOK_SECONDS = 0.05

_parked: list[_Worker] = []


def run(
    code: Compiled, context: Context, threads: int, look: Callable[[], bool | None] | None
) -> None:
    """Run a program on ``threads`` threads, calling ``look`` some twenty times a second.

    Where ``look`` returns true, or raises (an interrupt too), the threads stop behind the step
    they are in; what it raised goes on when they have stopped. For short runs ``look`` is None:
    then the calling thread is one of them, and no other is needed for a run on one thread.

    Where the system has fewer threads to give, it warns, and the run takes those there are: results
    do not depend on their number.
    """
    crew = _take(threads if look is not None else threads - 1)
    here = 1 if look is None or not crew else 0  # threads that are the calling one
    context["threads"] = len(crew) + here
    task = _Task(code, context, len(crew))
    for number, worker in enumerate(crew, here):
        worker.task, worker.number = task, number
    # Iterators, run in C: wherever an interrupt strikes, what is not done yet is known, and done.
    wakes = map(_wake, [worker.parked for worker in crew])
    entries = map(code.entry, [context.address] * here, range(here))
    exhaust = deque[None](maxlen=0).extend
    try:
        exhaust(wakes)
        exhaust(entries)
        while not task.wait(LOOK_SECONDS):
            if look is not None and look():
                context["stop"] = 1
    finally:
        context["stop"] = 1
        exhaust(wakes)  # who waits at a barrier needs all the others
        exhaust(entries)
        _wait(task)


def _wait(task: _Task) -> None:
    """Wait for threads to stop, whatever comes: until then they write to our memory."""
    interrupted: BaseException | None = None
    while True:
        try:
            if task.wait(LOOK_SECONDS):
                break
        except BaseException as error:  # what a signal's handler raises
            interrupted = error
    if interrupted is not None:
        raise interrupted


class _Task:
    """One run: its code and memory, kept while a thread is in it, and how many still are."""

    def __init__(self, code: Compiled, context: Context, threads: int) -> None:
        self.code, self.context = code, context
        self.is_over = not threads
        self._inside = threads
        self._counting = threading.Lock()
        self._over = threading.Lock()
        self._over.acquire()

    def leave(self) -> None:
        """A thread is done with it."""
        with self._counting:
            self._inside -= 1
            if self._inside == 0:
                self.is_over = True
                self._over.release()

    def wait(self, seconds: float) -> bool:
        """Whether all threads are done, now or within ``seconds``."""
        if not self.is_over:
            self._over.acquire(timeout=seconds)
        return self.is_over


class _Worker:
    """A thread that runs its part of one task after another."""

    task: _Task
    number: int

    def __init__(self) -> None:
        self.parked = threading.Lock()
        self.parked.acquire()
        threading.Thread(target=self._work, name="convmill", daemon=True).start()

    def _work(self) -> None:
        while True:
            self.parked.acquire()
            task = self.task
            task.code.entry(task.context.address, self.number)
            del self.task  # before it is free for another
            _parked.append(self)
            task.leave()
            del task  # a parked thread keeps no memory alive


def _take(count: int) -> list[_Worker]:
    """So many workers, or as many as the system gives."""
    crew: list[_Worker] = []
    try:
        while len(crew) < count:
            try:
                crew.append(_parked.pop())
            except IndexError:
                crew.append(_Worker())
    except (RuntimeError, MemoryError) as error:  # "can't start new thread"
        _warn(count, crew, error)
    return crew


def _warn(wanted: int, crew: list[_Worker], error: Exception) -> None:
    try:
        warnings.warn(
            f"{wanted} threads were wanted, {len(crew)} could be had ({error}). Lower the number "
            "of threads (threads= or CONVMILL_THREADS), or allow the process more of them.",
            RuntimeWarning,
            stacklevel=2,
        )
    except RuntimeWarning:  # where warnings are errors
        _parked.extend(crew)
        raise


_wake = type(threading.Lock()).release


def _forget() -> None:
    """In the child of a fork: its parent's threads are not there."""
    _parked.clear()


after_fork_in_child(_forget)
