"""Counts what ran in compiled code, and what went back to Keras and why.

A fallback that nobody notices passes every test: so a test that passed proves something about the
compiler only together with these numbers.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from convmill.runtime.program import Program
from convmill.train import fallback


@dataclass
class Counts:
    """Calls of a Program, the images in them, and refusals by reason."""

    calls: int = 0
    images: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)


def count() -> Counts:
    """Counts from here on, in this process, into what is returned."""
    counts = Counts()
    inside = False

    def counted(method: Callable[..., Any], images: Callable[[Any], int]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(self: Program, data: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:  # predict runs through evaluate
                return method(self, data, *args, **kwargs)
            counts.calls += 1
            counts.images += images(data)
            inside = True
            try:
                return method(self, data, *args, **kwargs)
            finally:
                inside = False

        return wrapper

    for name in ("train", "evaluate"):
        method = counted(getattr(Program, name), lambda batches: len(batches.order))
        setattr(Program, name, method)
    setattr(Program, "predict", counted(Program.predict, len))  # noqa: B010
    _count_fallbacks(counts)
    return counts


def _count_fallbacks(counts: Counts) -> None:
    original = fallback.fall_back

    def fall_back(current: Any, gap: Any, model: Any) -> None:
        counts.fallbacks[_without_names(gap.reason)] += 1
        original(current, gap, model)

    fallback.fall_back = fall_back


def _without_names(reason: str) -> str:
    """A reason without names of layers, models and weights, and without random numbers."""
    reason = re.sub(r"\b(layer|model|weight) '[^']*'", r"a \1", reason)
    return re.sub(r"=[\[({].*\d\.\d{6}.*", "=...", reason)
