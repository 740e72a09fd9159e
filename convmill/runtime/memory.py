"""Memory that native code writes: aligned, and in tests guarded and poisoned."""

from __future__ import annotations

import numpy as np

from convmill.lower.buffers import CACHE_LINE, CONTEXT_BYTES, POINTERS, Layout, field_offset
from convmill.lower.stages import Network, Tensor

POISON = 0xFF  # four of them are a float32 that is no number


def aligned(count: int, dtype: np.dtype | type) -> np.ndarray:
    """Zeros that start at a cache line."""
    dtype = np.dtype(dtype)
    space = np.zeros(max(1, count) * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -space.ctypes.data % CACHE_LINE
    return space[start : start + max(1, count) * dtype.itemsize].view(dtype)[:count]


class Context:
    """The fields that native code reads and writes; see ``convmill.lower.buffers``."""

    def __init__(self) -> None:
        self._space = aligned(CONTEXT_BYTES // 8, np.int64)
        self._held: dict[str, np.ndarray] = {}

    @property
    def address(self) -> int:
        """Where native code finds the context."""
        return self._space.ctypes.data

    def release(self) -> None:
        """Keep no array alive any more: no native code runs on them. Numbers can still be read."""
        self._held.clear()

    def __setitem__(self, name: str, value: int | np.ndarray) -> None:
        if isinstance(value, np.ndarray):
            assert name in POINTERS
            self._held[name] = value  # keep it alive as long as its address is here
            value = value.ctypes.data
        self._space[field_offset(name) // 8] = value

    def __getitem__(self, name: str) -> int:
        return int(self._space[field_offset(name) // 8])


class Records:
    """The records of some images, with the halos of all tensors set to zero.

    ``guard`` bytes behind each slot hold a pattern that ``intact`` looks for; with a guard the
    rest is poisoned too, so that a kernel that reads what nobody wrote yields no number.
    """

    def __init__(self, network: Network, layout: Layout, count: int, guard: int = 0) -> None:
        self.layout, self.count, self.guard = layout, count, guard
        self.memory = aligned(layout.length * count, np.uint8).reshape(count, layout.length)
        if guard:
            self.memory[:] = POISON
            for tensor in {network.input, *(stage.output for stage in network.stages)}:
                self._clear_halo(tensor)

    def _clear_halo(self, tensor: Tensor) -> None:
        values = self.slot(f"value/{tensor.buffer}").view(np.float32)
        top, bottom, left, right = tensor.halo
        grid = values[:, : tensor.size].reshape(
            self.count, -1, tensor.row // tensor.channels, tensor.channels
        )
        grid[:, :top] = 0
        grid[:, grid.shape[1] - bottom :] = 0
        grid[:, :, :left] = 0
        grid[:, :, grid.shape[2] - right :] = 0

    def slot(self, name: str) -> np.ndarray:
        """Bytes of one slot in every record."""
        part = self.layout.slots[name]
        return self.memory[:, part.offset : part.offset + part.length]

    def intact(self) -> bool:
        """Whether no guard was written to."""
        return all(
            bool((self.memory[:, end : end + self.guard] == POISON).all())
            for end in (part.offset + part.length for part in self.layout.slots.values())
        )
