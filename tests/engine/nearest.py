"""What float32 makes of numbers in float64."""

from __future__ import annotations

import numpy as np


def in_float32(exact: np.ndarray) -> np.ndarray:
    """The float32 that is nearest: infinite where it must be, and zero for denormal numbers."""
    with np.errstate(over="ignore"):
        found = np.asarray(exact, np.float64).astype(np.float32)
    return np.where(np.abs(found) < np.finfo(np.float32).tiny, np.float32(0), found)
