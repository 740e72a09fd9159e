"""Runs whose every line is looked at, and that are struck at one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Tracer:
    """Counts the lines of some files that a run passes, and strikes at line number ``at``."""

    def __init__(
        self, files: Container[str], strike: Callable[[], None] = lambda: None, at: int = 0
    ) -> None:
        self.files, self.strike, self.at, self.count = files, strike, at, 0
        self.struck: tuple[str, int] | None = None  # file, line
        self.last: dict[tuple[str, int], int] = {}  # file, line -> when it was passed last

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self.line if frame.f_code.co_filename in self.files else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """What Python calls in a function of these files."""
        if event == "line":
            self.count += 1
            place = frame.f_code.co_filename, frame.f_lineno
            self.last[place] = self.count
            if self.count == self.at:
                self.struck = place
                self.strike()
        return self.line


@contextmanager
def traced(tracer: Tracer | None) -> Iterator[None]:
    """Within, a tracer sees what this thread runs; None: nobody does."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)
