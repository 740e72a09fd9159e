"""Launches written down directly, for the passes that only look at what they read and write."""

from __future__ import annotations

from convmill.lower.launches import Images, Launch, Shares, Slot
from convmill.lower.tensors import Tensor


def image_slot(name: str, length: int = 64, *, border: Tensor | None = None) -> Slot:
    """A slot that each image has."""
    return Slot(name, length, "image", border)


def over_images(reads: list[Slot], writes: list[Slot], of: str = "stage0") -> Launch:
    """A launch over the images of a batch."""
    return Launch("test.images", of, Images(), tuple(reads), tuple(writes))


def over_shares(
    reads: list[Slot], writes: list[Slot], total: int = 8, multiple: int = 1, work: int = 0
) -> Launch:
    """A launch over shares."""
    over = Shares(total, multiple)
    return Launch("test.shares", "matrix0", over, tuple(reads), tuple(writes), work)
