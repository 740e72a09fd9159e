"""What Keras calls while a model of ours runs is Keras' own call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_running = False


@contextmanager
def once() -> Iterator[bool]:
    """Whether no such block is running already."""
    global _running
    first, _running = not _running, True
    try:
        yield first
    finally:
        if first:
            _running = False
