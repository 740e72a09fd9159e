"""Signals are heard where every model's state is whole.

While a call runs in the main thread, handlers that are written in Python (Ctrl-C's is one) are not
called in the middle of a step: a signal waits for the next ``hear``, which stands between two runs
of native code, and then its handler is called as if it had come there. While the user's own code
runs (callbacks, generators) it is called at once. In both cases all that native code has computed
is in Keras' variables first, so a handler may save the model, train it or predict with it.

What a handler raises is raised. Where Python cannot do that (in a callback of the garbage
collector, in ``__del__``), it would print "Exception ignored" and go on: here it is kept, and
raised at the next ``hear``.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Those whose handlers people write; SIGINT last, so that Ctrl-C is put back last.
_NAMES = ("SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK", "SIGINT")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class _Calls:
    """The calls of the main thread, and what they hold back. Other threads never look here."""

    def __init__(self) -> None:
        self.settle: list[Callable[[], None]] = []  # of each call: makes its state whole
        self.at_once = False
        self.waiting: list[int] = []
        self.replaced: dict[int, Any] = {}  # handlers, by signal
        self.unraisable = sys.unraisablehook
        self.raised: BaseException | None = None  # by a handler, and on its way
        self.lost: BaseException | None = None  # and Python could not raise it


_calls = _Calls()


@contextmanager
def held(settle: Callable[[], None]) -> Iterator[None]:
    """For the time of one call: ``settle`` makes its model's state whole, whenever asked to."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = len(_calls.settle)
    try:
        if before == 0:
            _install()
        _calls.settle.append(settle)
        with _mode(at_once=False):
            yield
    finally:
        del _calls.settle[before:]
        if before == 0:
            _restore()
        hear()


@contextmanager
def at_once() -> Iterator[None]:
    """For the user's own code: within, signals are heard as if nothing of ours were running."""
    if not _held_here():
        yield
        return
    hear()
    with _mode(at_once=True):
        yield
    hear()


def waiting() -> bool:
    """Whether there is a signal to hear in this thread."""
    return _held_here() and bool(_calls.waiting or _calls.lost)


def hear() -> None:
    """Calls the handlers of signals that waited; raises what they raise, or what was lost."""
    if threading.current_thread() is not threading.main_thread():
        return
    while _calls.waiting:
        with _mode(at_once=True):
            _call(_calls.waiting.pop(0), sys._getframe())
    if _calls.lost is not None:
        error, _calls.lost = _calls.lost, None
        raise error


def _held_here() -> bool:
    return bool(_calls.settle) and threading.current_thread() is threading.main_thread()


@contextmanager
def _mode(at_once: bool) -> Iterator[None]:
    before = _calls.at_once
    _calls.at_once = at_once
    try:
        yield
    finally:
        _calls.at_once = before


def _handle(number: int, frame: FrameType | None) -> None:
    if _calls.settle and not _calls.at_once:
        _calls.waiting.append(number)
    else:
        _call(number, frame)


def _call(number: int, frame: FrameType | None) -> None:
    """Calls the handler that was there before ours, with all state whole."""
    with _mode(at_once=False):
        for settle in list(_calls.settle):
            settle()
    handler = _calls.replaced.get(number, signal.default_int_handler)
    try:
        handler(number, frame)
    except BaseException as error:
        _calls.raised = error
        raise


def _unraisable(report: Any) -> None:
    """Stands for ``sys.unraisablehook``: what a handler raised is not to be lost."""
    if report.exc_value is not None and report.exc_value is _calls.raised:
        _calls.lost = report.exc_value
    else:
        _calls.unraisable(report)


def _install() -> None:
    _calls.unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not _handle:
            _calls.replaced[number] = handler
            signal.signal(number, _handle)


def _restore() -> None:
    """Puts the handlers back, unless the user's code has set others meanwhile."""
    _calls.raised = None
    if sys.unraisablehook is _unraisable:
        sys.unraisablehook = _calls.unraisable
    for number in _SIGNALS:
        if signal.getsignal(number) is _handle and number in _calls.replaced:
            signal.signal(number, _calls.replaced[number])
