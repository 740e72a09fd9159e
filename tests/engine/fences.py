"""Native code between fences: every array that it is handed lies in memory that is watched.

``fenced`` puts strips of poison around each array and looks at them afterwards; what native code
only reads must come back as it was. ``protected`` lets every array end (or begin) at a page that
may not be touched: there a single byte read or written outside ends the process.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from convmill.runtime import workers

STRIP = 4096  # bytes, a multiple of the cache line
POISON = 0xFF  # four of them are a float32 that is no number
WRITTEN_ALWAYS = {
    *("packs", "records", "own", "scratch", "statistics", "losses", "correct", "activities"),
}
WRITTEN_IN_TRAINING = {"parameters", "gradients", "partials", "slots", "penalties", "norms"}
Place = Callable[[np.ndarray], tuple[np.ndarray, Callable[[], None]]]


@contextmanager
def fenced() -> Iterator[None]:
    """Within, runs of native code work on copies between strips of poison."""
    with _moved(_between_strips):
        yield


@contextmanager
def protected(*, at_end: bool) -> Iterator[None]:
    """Within, arrays lie directly before (or behind) a page that may not be touched."""
    with _moved(lambda array: _beside_page(array, at_end)):
        yield


@contextmanager
def _moved(place: Place) -> Iterator[None]:
    """Within, runs of native code work on copies that ``place`` makes; results are copied back."""
    plain = workers.run

    def run(code: Any, context: Any, threads: int, look: Callable[[], None]) -> None:
        originals = dict(context.arrays)
        written = set(WRITTEN_ALWAYS)
        if "hyper" in originals:
            written |= WRITTEN_IN_TRAINING
        several = ("outputs/", "handed_over/", "returned/")
        written |= {name for name in originals if name.startswith(several)}
        copies = {}
        for name in sorted(originals, key=lambda name: "/" not in name):  # tables last, filled
            copies[name] = place(originals[name])
            context[name] = copies[name][0]
        plain(code, context, threads, look)
        for name, (copy, check) in copies.items():
            check()
            if name in written:
                originals[name][...] = copy
            else:
                assert copy.tobytes() == originals[name].tobytes(), f"{name} was written to"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", run)
        yield


def _between_strips(array: np.ndarray) -> tuple[np.ndarray, Callable[[], None]]:
    """A copy between two strips, and the check that they are whole."""
    space = np.full(STRIP + array.nbytes + 2 * STRIP, POISON, np.uint8)
    start = STRIP - space.ctypes.data % STRIP + array.ctypes.data % 64
    copy = space[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array

    def check() -> None:
        assert (space[:start] == POISON).all(), "written before an array"
        assert (space[start + array.nbytes :] == POISON).all(), "written behind an array"

    return copy, check


def _beside_page(array: np.ndarray, at_end: bool) -> tuple[np.ndarray, Callable[[], None]]:
    """A copy that ends where a page without any rights begins, or begins where one ends."""
    page = mmap.PAGESIZE
    length = -(-max(1, array.nbytes) // page) * page
    space = mmap.mmap(-1, length + 2 * page)
    memory = np.frombuffer(space, np.uint8)
    library = ctypes.CDLL(None, use_errno=True)
    for wall in (0, page + length):
        address = ctypes.c_void_p(memory.ctypes.data + wall)
        if library.mprotect(address, ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = page + (length - array.nbytes if at_end else 0)
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy, lambda: None
