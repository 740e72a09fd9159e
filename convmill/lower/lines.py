"""Cache lines: what begins at one, and how far apart things lie that are touched together."""

from __future__ import annotations

CACHE_LINE = 64  # bytes
PAGE = 4096  # bytes
FLOAT_BYTES = 4


def in_lines(size: int) -> int:
    """``size`` bytes, rounded up to whole lines."""
    return -(-size // CACHE_LINE) * CACHE_LINE


def apart(size: int) -> int:
    """Bytes from one thing of ``size`` bytes to the next, where the same place of many is touched
    at once: an odd number of lines, for what lies a power of two apart falls into the same few sets
    of a cache, which have room for about a dozen lines."""
    return (in_lines(size) // CACHE_LINE | 1) * CACHE_LINE


def spaced(count: int) -> int:
    """The same in float32 elements, for things of ``count`` of them."""
    return apart(FLOAT_BYTES * count) // FLOAT_BYTES


def behind(count: int) -> int:
    """Float32 elements from where so many are read to what is written meanwhile: half a page behind
    a page's end, for a load waits for a store before it that lies whole pages away."""
    return round_up(count, PAGE // FLOAT_BYTES) + PAGE // FLOAT_BYTES // 2


def round_up(value: int, multiple: int) -> int:
    """The next multiple of ``multiple``."""
    return -(-value // multiple) * multiple
