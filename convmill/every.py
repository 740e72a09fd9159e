"""How often a checkpoint is written: a time, or a number of steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_SECONDS = {"s": 1, "min": 60, "h": 3600}
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|min|h|steps?)\s*")


@dataclass(frozen=True)
class Every:
    """One of the two."""

    seconds: float | None = None
    steps: int | None = None


def read_every(given: Any, name: str = "every") -> Every:
    """``"60s"``, ``"5min"``, ``"1h"`` or ``"100 steps"``. ValueError for anything else."""
    found = _WRITTEN.fullmatch(given) if isinstance(given, str) else None
    if found is not None:
        number, unit = found.groups()
        if unit in _SECONDS and float(number) > 0:
            return Every(seconds=float(number) * _SECONDS[unit])
        if unit not in _SECONDS and number.isdigit() and int(number) > 0:
            return Every(steps=int(number))
    raise ValueError(
        f"{name} must be a time or a number of steps: '60s', '5min', '1h' or '100 steps'. "
        f"Received: {name}={given!r}"
    )
