"""Ctrl-C in the command line: heard wherever Python is, and answered once."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from convmill.cli.text import echo

INTERRUPTED = 130
SOON = 0.01  # seconds, by which whatever swallowed an interrupt has ended


@contextlib.contextmanager
def always_heard() -> Iterator[None]:
    """Where Python swallows an interrupt, it comes again at once.

    It does where it can raise nothing: in a callback of the garbage collector, of which JAX has
    one, or in ``__del__``. The command would print "Exception ignored" and go on.
    """
    again: list[threading.Timer] = []
    before = sys.unraisablehook

    def unraisable(report: Any) -> None:
        if isinstance(report.exc_value, KeyboardInterrupt):
            timer = threading.Timer(SOON, _interrupt_main)
            timer.daemon = True
            again.append(timer)
            timer.start()
        else:
            before(report)

    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()


def _interrupt_main() -> None:
    """A true signal where there are such, so that whatever the main thread waits for ends too."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Further interrupts change nothing: the command is ending already."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def say_stopped(interrupt: BaseException) -> None:
    """Tells whoever pressed Ctrl-C that it was heard, then the notes of the interrupt."""
    with contextlib.suppress(OSError, ValueError):
        for line in ("Stopped.", *_notes(interrupt)):
            echo(line, err=True)


def _notes(error: BaseException | None) -> Iterator[str]:
    """What was noted on an error, and on those that it was raised from: click makes others."""
    while error is not None:
        yield from getattr(error, "__notes__", ())
        error = error.__cause__


def leave() -> NoReturn:
    """Ends the process with INTERRUPTED. Python would end it by the signal where the interrupt
    went through an ``exec``, and run what libraries do at exit, which an interrupt may find half
    started."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(INTERRUPTED)
