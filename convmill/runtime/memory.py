"""Memory that native code writes: aligned, and in tests guarded and poisoned."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from convmill.lower.fields import CONTEXT_BYTES, POINTERS, field_offset
from convmill.lower.launches import value
from convmill.lower.lifetimes import CACHE_LINE, Memory
from convmill.lower.stages import Network, Tensor

POISON = 0xFF  # four of them are a float32 that is no number


def aligned(count: int, dtype: np.dtype | type) -> np.ndarray:
    """Zeros that start at a cache line."""
    dtype = np.dtype(dtype)
    space = np.zeros(max(1, count) * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -space.ctypes.data % CACHE_LINE
    return space[start : start + max(1, count) * dtype.itemsize].view(dtype)[:count]


class Context:
    """The fields that native code reads and writes; see ``convmill.lower.fields``."""

    def __init__(self) -> None:
        self._space = aligned(CONTEXT_BYTES // 8, np.int64)
        self._held: dict[str, np.ndarray] = {}

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays whose addresses native code is handed, by the names of their fields."""
        return MappingProxyType(self._held)

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
    """What images leave behind: a record for each of ``images``, and each thread's own memory for a
    group of them, with the borders of all tensors set to zero.

    With a guard everything is poisoned, so that a kernel that reads what nobody wrote yields no
    number, and what lies behind each slot holds a pattern that ``intact`` looks for.
    """

    def __init__(self, network: Network, memory: Memory, images: int, threads: int) -> None:
        self.memory, self.images, self.threads = memory, images, threads
        group = threads * network.images_per_group
        self.records = _rows(images, memory.image_bytes)
        self.own = _rows(group, memory.thread_bytes)
        self.scratch = aligned(threads * memory.scratch, np.float32)
        if memory.guard:
            for part in (self.records, self.own):
                part[:] = POISON
            for tensor in {network.input, *(stage.output for stage in network.stages)}:
                self._clear_border(tensor)

    def _clear_border(self, tensor: Tensor) -> None:
        values = self.slot(value(tensor).name).view(np.float32)
        top, bottom, left, right = tensor.halo
        grid = values[:, : tensor.size].reshape(
            len(values), -1, tensor.row // tensor.channels, tensor.channels
        )
        grid[:, :top] = 0
        grid[:, grid.shape[1] - bottom :] = 0
        grid[:, :, :left] = 0
        grid[:, :, grid.shape[2] - right :] = 0

    def slot(self, name: str) -> np.ndarray:
        """Bytes of one slot of every image, (images, bytes). Raises KeyError for no such slot."""
        place = self.memory.places[name]
        part = self.records if place.home == "image" else self.own
        return part[:, place.offset : place.offset + place.bytes]

    def intact(self) -> bool:
        """Whether no guard was written to."""
        guard = self.memory.guard
        ends = (
            (self.records if place.home == "image" else self.own, place.offset + place.bytes)
            for place in self.memory.places.values()
        )
        return all(bool((part[:, end : end + guard] == POISON).all()) for part, end in ends)


def _rows(count: int, length: int) -> np.ndarray:
    """Bytes, (count, length)."""
    return aligned(count * length, np.uint8).reshape(count, length)
