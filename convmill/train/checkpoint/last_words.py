"""SIGTERM and Ctrl-C while checkpoints are kept: one more is written before they do what they do.

Only in the main thread: elsewhere Python hears no signals.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_NAMES = ("SIGTERM", "SIGBREAK", "SIGINT")  # SIGINT last, so that Ctrl-C is put back last


class LastWords:
    """From ``listen`` to ``end`` a signal waits as long as ``may_wait()``, and has ``write``
    called before it is heard; a second one is heard at once, and so is one of a forked child."""

    def __init__(self, may_wait: Callable[[], bool], write: Callable[[], None]) -> None:
        self._may_wait, self._write = may_wait, write
        self._before: dict[int, Any] = {}
        self._waiting: int | None = None
        self._is_writing = False
        self._process = os.getpid()

    @property
    def is_waiting(self) -> bool:
        """Whether a signal waits."""
        return self._waiting is not None

    def listen(self) -> None:
        """Takes the place of the handlers that are there."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None:
                continue
            before = signal.getsignal(number)
            if before in (signal.SIG_IGN, None):  # None: a handler that Python has not set
                continue
            self._before[number] = before
            signal.signal(number, self._heard)

    def end(self) -> None:
        """Puts them back, unless others have been set meanwhile; does nothing where that was done.
        A signal that waits is heard."""
        for number, before in list(self._before.items()):
            if signal.getsignal(number) == self._heard:
                signal.signal(number, before)
            del self._before[number]
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            signal.raise_signal(waiting)

    def hear(self) -> None:
        """What waits is heard, if there is anything: its last words are written first."""
        if self._waiting is not None:
            self._answer(self._waiting, None)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._waiting is not None or self._process != os.getpid():
            self._waiting = None
            self._pass_on(number, frame)
        elif self._is_writing or self._may_wait():
            self._waiting = number
        else:
            self._answer(number, frame)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self._is_writing = True
        try:
            self._write()
        finally:  # it is heard even if they cannot be written
            self._is_writing, self._waiting = False, None
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if callable(before):
            before(number, frame)
            return
        signal.signal(number, before)  # the system's own way: the process ends
        os.kill(os.getpid(), number)
