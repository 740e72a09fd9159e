"""Whether arrays hold what float32 can hold."""

from __future__ import annotations

import numpy as np

# Bytes looked at together: they stay in a core's cache for the second look.
CHUNK_BYTES = 1 << 18
LARGEST = float(np.finfo(np.float32).max)


def check_finite(array: np.ndarray, argument: str, first: int = 0) -> None:
    """Raises ValueError unless all numbers are finite, also once they are float32; looks at each
    once.

    ``first`` is the number of the first row among all, for errors to name.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    rows = max(1, CHUNK_BYTES // max(1, array[0].nbytes))
    for start in range(0, len(array), rows):
        chunk = array[start : start + rows]
        # NaN fails both comparisons; no temporary array is made.
        if not (float(chunk.min()) >= -LARGEST and float(chunk.max()) <= LARGEST):
            _say_where(chunk, first + start, argument)


def _say_where(chunk: np.ndarray, start: int, argument: str) -> None:
    bad = np.argwhere(~(np.abs(chunk, dtype=np.float64) <= LARGEST))[0]
    value = chunk[tuple(bad)]
    place = ", ".join(map(str, (start + int(bad[0]), *map(int, bad[1:]))))
    raise ValueError(
        f"{argument} must hold finite numbers that float32 can hold. "
        f"Received: {argument}[{place}] = {value}"
    )
