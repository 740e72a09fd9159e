"""Aligned memory, and the context by which native code is handed all arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from convmill.lower.fields import FIELDS, POINTERS, SHARED, context_bytes, field_offset
from convmill.lower.lines import CACHE_LINE

# Where each field is, in the context's whole numbers of 8 bytes.
_PLACES = {name: field_offset(name) // 8 for name in (*FIELDS, *SHARED)}
_POINTERS = frozenset(POINTERS)
_SHARED = slice(_PLACES[SHARED[0]], None)


def aligned(count: int, dtype: np.dtype | type) -> np.ndarray:
    """Zeros that start at a cache line. MemoryError where there is no place for so many."""
    dtype = np.dtype(dtype)
    size = max(1, count) * dtype.itemsize
    try:
        space = np.zeros(size + CACHE_LINE, np.uint8)
    except MemoryError as error:
        raise MemoryError(
            f"{size / 1e6:,.0f} MB could not be had. Use a smaller model, fewer images at once or "
            "fewer threads, or free memory."
        ) from error
    start = -space.ctypes.data % CACHE_LINE
    return space[start : start + size].view(dtype)[:count]


class Context:
    """The fields that native code reads and writes, for a number of threads at most; see
    ``convmill.lower.fields``.

    ``images/0`` names the first array of the table that the field ``images`` points to.
    """

    def __init__(self, threads: int) -> None:
        self._space = aligned(context_bytes(threads) // 8, np.int64)
        self._held: dict[str, np.ndarray] = {}

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays whose addresses native code is handed, by the names of their fields."""
        return MappingProxyType(self._held)

    @property
    def address(self) -> int:
        """Where native code finds the context."""
        return self._space.ctypes.data

    def renew(self) -> None:
        """Ready for another run: what threads have written among themselves is forgotten."""
        self._space[_SHARED] = 0

    def release(self) -> None:
        """Keep no array alive any more: no native code runs on them. Numbers can still be read."""
        self._held.clear()

    def set_table(
        self, name: str, rows: Sequence[tuple[np.ndarray | None, *tuple[int, ...]]]
    ) -> None:
        """Hands over a table: a row for each array, with its address, its stride from one image to
        the next, and the numbers behind them."""
        self[name] = np.array([(0, 0, *rest) for _, *rest in rows], np.int64)
        for number, (array, *_) in enumerate(rows):
            if array is not None:
                self[f"{name}/{number}"] = array

    def __setitem__(self, name: str, value: int | np.ndarray) -> None:
        if isinstance(value, np.ndarray):
            self._held[name] = value  # keep it alive as long as its address is here
            table, _, number = name.partition("/")
            assert table in _POINTERS
            if number:
                row = self._held[table][int(number)]
                row[:2] = value.ctypes.data, value.strides[0]
                return
            value = value.ctypes.data
        self._space[_PLACES[name]] = value

    def __getitem__(self, name: str) -> int:
        return int(self._space[_PLACES[name]])
