"""Signals are heard where every model's state is whole.

While a call runs in the main thread, handlers that are written in Python (Ctrl-C's is one) are not
called in the middle of a step: within a turn a signal waits for its end. Anywhere else, in the
user's own code too, it is heard at once. In both cases all that native code has computed is in
Keras' variables first, so a handler may save the model, train it or predict with it.

What a handler raises is raised. Where Python cannot do that (in a callback of the garbage
collector, in ``__del__``), it would print "Exception ignored" and go on: here it is kept, and
raised at the end of the next turn.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from convmill.threads import after_fork_in_child

# Those whose handlers people write; SIGINT last, so that Ctrl-C is put back last.
_NAMES = ("SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK", "SIGINT")
_SIGNALS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))

# What ``signal``'s functions are made of: its enumerations take 20 us in each call of a model.
_handler_of: Callable[[int], Any] = _signal.getsignal
_set_handler: Callable[[int, Any], Any] = _signal.signal


class _Calls:
    """The calls of the main thread, and what they hold back. Other threads never look here."""

    def __init__(self) -> None:
        self.thread = 0  # the main one
        self.settle: list[Callable[[], None]] = []  # of each call: makes its state whole
        self.held = False  # whether there is a turn
        self.waiting: list[int] = []
        self.replaced: dict[int, Any] = {}  # handlers, by signal
        self.unraisable = sys.unraisablehook
        self.raised: BaseException | None = None  # by a handler, and on its way
        self.lost: BaseException | None = None  # and Python could not raise it


_calls = _Calls()
_main = threading.main_thread().ident  # asking for it takes as long as all else of ``_is_main``
_quiet = threading.Event()  # no handler is called
_quiet.set()


def may_interrupt() -> bool:
    """Whether a handler may come between the lines of this thread, and none is called already."""
    return _is_main() and _quiet.is_set()


def quiet(seconds: float = 0.0) -> bool:
    """Whether no handler of ours is called, now or within ``seconds``."""
    return _quiet.wait(seconds)


def begin(settle: Callable[[], None]) -> None:
    """A call begins: ``settle`` makes its model's state whole, whenever asked to."""
    if _is_main():
        if not _calls.settle:
            _calls.thread = threading.get_ident()
            _install()
        _calls.settle.append(settle)


def end(outer: int) -> None:
    """A call ends, within ``outer`` others; does nothing where that was done.

    Signals that waited are heard, at last as if we had never been there.
    """
    if _is_main():
        del _calls.settle[outer:]
        if not outer:
            _restore()
        hear()


def depth() -> int:
    """How many calls of this thread there are, one within the other."""
    return len(_calls.settle) if _is_main() else 0


def hold() -> None:
    """From here on signals of this thread wait for ``release``."""
    if _is_main():
        _calls.held = True


def release() -> None:
    """Signals are heard again, those first that waited."""
    if _is_main():
        _calls.held = False
        hear()


def waiting() -> bool:
    """Whether a signal waits for this thread's turn to end."""
    return _is_main() and bool(_calls.waiting or _calls.lost)


def hear() -> None:
    """Calls the handlers of signals that waited; raises what they raise, or what was lost."""
    while _calls.waiting:
        _call(_calls.waiting.pop(0), sys._getframe())
    if _calls.lost is not None:
        error, _calls.lost = _calls.lost, None
        raise error


def _is_main() -> bool:
    return threading.get_ident() == _main


def _handle(number: int, frame: FrameType | None) -> None:
    if _calls.held:
        _calls.waiting.append(number)
    else:
        _call(number, frame)


def _call(number: int, frame: FrameType | None) -> None:
    """Calls the handler that was there before ours, with all state whole."""
    first = _quiet.is_set()
    try:
        _quiet.clear()
        for settle in _calls.settle.copy():
            settle()
        try:
            _calls.replaced.get(number, signal.default_int_handler)(number, frame)
        except BaseException as error:
            _calls.raised = error
            raise
    finally:
        if first:
            _quiet.set()


def _unraisable(report: Any) -> None:
    """Stands for ``sys.unraisablehook``: what a handler raised is not to be lost."""
    if report.exc_value is not None and report.exc_value is _calls.raised:
        _calls.lost = report.exc_value
    else:
        _calls.unraisable(report)


def _install() -> None:
    _calls.held = False
    if not _quiet.is_set():
        _quiet.set()
    if sys.unraisablehook is not _unraisable:
        _calls.unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
    for number in _SIGNALS:
        handler = _handler_of(number)
        if callable(handler) and handler is not _handle:
            _calls.replaced[number] = handler
            _set_handler(number, _handle)


def _restore() -> None:
    """Puts the handlers back, unless the user's code has set others meanwhile."""
    _calls.held, _calls.raised = False, None
    if sys.unraisablehook is _unraisable:
        sys.unraisablehook = _calls.unraisable
    for number in _SIGNALS:
        if _handler_of(number) is _handle:
            _set_handler(number, _calls.replaced[number])


def _in_child() -> None:
    """The child of another thread's fork has none of the calls, and that thread is its main one."""
    global _main
    _main = threading.get_ident()
    if _calls.settle and _calls.thread != threading.get_ident():
        _calls.settle.clear()
        _calls.waiting.clear()
        _calls.lost = None
        _restore()
        _quiet.set()


after_fork_in_child(_in_child)
