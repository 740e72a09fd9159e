"""Whole numbers among arguments: one check, and one way to say what would work."""

from __future__ import annotations

import operator
from typing import Any


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
        ValueError: it is no whole number from ``least`` to ``most``, or to any where that is None.
    """
    if is_whole(value) and least <= value and (most is None or value <= most):
        return operator.index(value)
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number {limits}. Received: {name}={value!r}")
