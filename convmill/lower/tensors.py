"""Where values of one image lie: tensors with a place for padding. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace

Halo = tuple[int, int, int, int]  # top, bottom, left, right
NO_HALO: Halo = (0, 0, 0, 0)
ALIGNMENT = 16  # float32 elements: one cache line


@dataclass(frozen=True)
class Tensor:
    """float32 values of one image, channels last, inside a border of zeros.

    ``halo`` is (top, bottom, left, right) in pixels: the padding that the reader wants, so that
    no kernel tests for edges. ``buffer`` numbers the memory; views share it. Where a buffer has
    several readers, ``use`` numbers them from 1: each leaves a gradient of its own, and the sum of
    all is that of use 0, which the writer goes by.
    """

    buffer: int
    height: int
    width: int
    channels: int
    halo: Halo = NO_HALO
    use: int = 0

    @property
    def row(self) -> int:
        """Elements from one row of pixels to the next."""
        return (self.halo[2] + self.width + self.halo[3]) * self.channels

    @property
    def size(self) -> int:
        """Elements in memory, the halo counted."""
        return (self.halo[0] + self.height + self.halo[1]) * self.row

    @property
    def origin(self) -> int:
        """Elements before the first pixel that is no halo."""
        return self.halo[0] * self.row + self.halo[2] * self.channels

    @property
    def values(self) -> int:
        """Values that count: height x width x channels."""
        return self.height * self.width * self.channels

    @property
    def places(self) -> int:
        """Pixels that count: height x width."""
        return self.height * self.width

    def padded(self, halo: Halo) -> Tensor:
        """The same tensor inside another border."""
        return replace(self, halo=halo)
