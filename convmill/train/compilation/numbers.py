"""Numbers among what ``compile`` was given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def check_number(name: str, value: Any, lowest: float, highest: float = math.inf) -> float:
    """``value`` as a float; ValueError unless it is a finite number within the limits."""
    number = value if isinstance(value, (int, float, np.number)) else math.nan
    if not (lowest <= number <= highest and math.isfinite(number)):
        limits = f" in [{lowest:g}, {highest:g}]"
        if highest == math.inf:
            limits = "" if lowest == -math.inf else f" at least {lowest:g}"
        raise ValueError(f"{name} must be a finite number{limits}. Received: {name}={value!r}")
    return float(number)
