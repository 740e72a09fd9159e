"""What images leave behind: their records, what is a thread's own, the sums of a batch's slices,
and how large a part of a batch is held at once. In tests all of it is guarded and poisoned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from convmill.lower.choose import whole_images
from convmill.lower.launches import Home, value
from convmill.lower.lifetimes import Memory
from convmill.lower.network import Network
from convmill.lower.slices import SLICES, slice_size
from convmill.lower.tensors import Tensor
from convmill.runtime.memory import aligned

POISON = 0xFF  # four of them are a float32 that is no number
# Bytes of a batch's records: a larger batch goes in parts. Without training only what crosses a
# barrier is in a record, and parts cost little.
MOST_BYTES = 256 * 1024 * 1024
MOST_BYTES_UNTRAINED = 16 * 1024 * 1024


@dataclass(frozen=True)
class Extent:
    """How much memory is held: records of so many ``images``, a thread's own for the images of a
    ``group`` for each of the ``threads``, and the sums of so many ``slices``."""

    images: int
    threads: int
    group: int
    slices: int

    def bytes(self, memory: Memory) -> int:
        """Bytes of all of it."""
        own = self.threads * (self.group * memory.thread_bytes + 4 * memory.scratch)
        return self.images * memory.image_bytes + own + self.slices * memory.slice_bytes


class Records:
    """What images leave behind: a record for each of them, each thread's own memory for a group,
    with the borders of all tensors set to zero, and the sums of each slice.

    With a guard everything is poisoned, so that a kernel that reads what nobody wrote yields no
    number, and what lies behind each slot holds a pattern that ``intact`` looks for.
    """

    def __init__(self, network: Network, memory: Memory, extent: Extent) -> None:
        self.memory, self.extent = memory, extent
        self.of_images = _rows(extent.images, memory.image_bytes)
        self.own = _rows(extent.threads * extent.group, memory.thread_bytes)
        self.of_slices = _rows(extent.slices, memory.slice_bytes)
        self.scratch = aligned(extent.threads * memory.scratch, np.float32)
        if memory.guard:
            for part in (self.of_images, self.own, self.of_slices):
                part[:] = POISON
            for tensor in network.tensors:
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
        """Bytes of one slot, of every image or slice that has one: (images, bytes), those of the
        groups of all threads where it is a thread's own. Raises KeyError for no such slot."""
        place = self.memory.places[name]
        return self._rows_of(place.home)[:, place.offset : place.offset + place.bytes]

    def _rows_of(self, home: Home) -> np.ndarray:
        rows = {"image": self.of_images, "thread": self.own, "slice": self.of_slices}
        return rows[home]

    def intact(self) -> bool:
        """Whether no guard was written to."""
        guard = self.memory.guard
        ends = (
            (self._rows_of(place.home), place.offset + place.bytes)
            for place in self.memory.places.values()
        )
        return all(bool((part[:, end : end + guard] == POISON).all()) for part, end in ends)


def _rows(count: int, length: int) -> np.ndarray:
    """Bytes, (count, length)."""
    return aligned(count * length, np.uint8).reshape(count, length)


class Held:
    """The records of one Program's last run of a kind, kept until others are wanted."""

    def __init__(self) -> None:
        self._records: Records | None = None

    @property
    def records(self) -> Records:
        """The records that are held. Raises KeyError where none are."""
        if self._records is None:
            raise KeyError("nothing was run yet")
        return self._records

    @property
    def images(self) -> int:
        """How many images have a record."""
        return 0 if self._records is None else self._records.extent.images

    def left(self, name: str) -> np.ndarray:
        """What each image left in a slot, (images, bytes). Raises KeyError where that is not kept:
        a thread's own memory serves one image behind the other, and nothing may have been run."""
        records = self.records
        if records.memory.places[name].home != "image":
            raise KeyError(f"{name} is not kept")
        return records.slot(name)

    def intact(self) -> bool:
        """Whether no guard was written to."""
        return self._records is None or self._records.intact()

    def hold(
        self,
        network: Network,
        memory: Memory,
        count: int,
        threads: int,
        *,
        training: bool,
        whole: bool,
    ) -> int:
        """Holds records for ``count`` images, or for as large a part of them as may be at once;
        returns the part.

        Sums over a batch go on from part to part in groups of whole images, so that parts change
        no bit; a ``whole`` batch is one part. Raises MemoryError where there is no memory for the
        least of them.
        """
        least = count if whole else min(count, whole_images(network.stages))
        part, most = count, MOST_BYTES if training else MOST_BYTES_UNTRAINED
        if not whole and memory.image_bytes * count > most:
            part = max(most // memory.image_bytes // least, 1) * least
        kept = part if memory.image_bytes else 0
        most = network.images_per_group
        group = min(most, max(-(-part // threads), slice_size(count, most)))
        slices = min(SLICES, count) if memory.slice_bytes else 0
        wanted = Extent(kept, threads, group, slices)
        if self._records is None or self._records.extent != wanted:
            self._records = None  # so that both are never there at once
            self._records = _allocated(network, memory, wanted, least)
        return self.images or part


def _allocated(network: Network, memory: Memory, wanted: Extent, least: int) -> Records:
    """Records for as many images as ``wanted``, or for half as many as often as memory is too
    small."""
    try:
        return Records(network, memory, wanted)
    except MemoryError as error:
        if wanted.images > least:
            half = max(wanted.images // 2 // least, 1) * least
            return _allocated(network, memory, replace(wanted, images=half), least)
        raise MemoryError(
            f"{wanted.bytes(memory) / 1e6:.0f} MB for {wanted.images} images of a batch on "
            f"{wanted.threads} threads could not be had. Use fewer threads, a smaller "
            "model or smaller images, or free memory."
        ) from error
