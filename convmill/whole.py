"""Whole numbers among arguments: one check, and one way to say what would work."""

from __future__ import annotations

import operator
from typing import Any

LARGEST_COUNT = 2**63 - 1  # of images, steps or epochs: what native code counts with


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number, Python's or NumPy's; True and False are none."""
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """``value`` as an int.

    Raises:
        ValueError: it is no whole number from ``least`` to ``most``, by default to LARGEST_COUNT.
    """
    largest = LARGEST_COUNT if most is None else most
    if is_whole(value) and least <= value <= largest:
        return operator.index(value)
    open_end = most is None and not (is_whole(value) and value > largest)
    limits = f"of at least {least}" if open_end else f"from {least} to {largest}"
    raise ValueError(f"{name} must be a whole number {limits}. Received: {name}={value!r}")
