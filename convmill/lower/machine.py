"""What schedules and kernels need to know of the processor. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """Vector width in float32 lanes, how many vector registers there are, and the architecture
    (``x86_64``, ``aarch64`` or another)."""

    lanes: int
    registers: int
    architecture: str = "x86_64"

    @property
    def scatters(self) -> bool:
        """Whether one instruction stores lanes at places of their own: AVX-512's."""
        return self.architecture == "x86_64" and self.lanes == 16
