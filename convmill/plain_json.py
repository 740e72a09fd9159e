"""JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: object) -> str:
    """JSON that every reader takes: numbers that are not finite become null."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
