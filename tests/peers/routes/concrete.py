"""Telling numbers from symbols: only numbers can go through a compiled program."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def is_concrete(value: Any) -> bool:
    """Whether ``value`` is a dense array of numbers, neither a symbol nor being traced."""
    if isinstance(value, jax.core.Tracer):
        return False
    return isinstance(value, np.ndarray | jax.Array)
