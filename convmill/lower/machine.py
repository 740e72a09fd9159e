"""What schedules and kernels need to know of the processor. Pure data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Machine:
    """Vector width in float32 lanes, how many vector registers there are, and the architecture
    (``x86_64``, ``aarch64`` or another). The system, by Python's name for it, is where the code
    will run: only how threads wait depends on it, and no choice does."""

    lanes: int
    registers: int
    architecture: str = "x86_64"
    system: str = field(default=sys.platform, compare=False)

    @property
    def scatters(self) -> bool:
        """Whether one instruction stores lanes at places of their own: AVX-512's."""
        return self.architecture == "x86_64" and self.lanes == 16

    @property
    def target(self) -> str:
        """Its name among the ``TARGETS``, or else its architecture."""
        known = (name for name, machine in TARGETS.items() if machine == self)
        return next(known, self.architecture)


# Sets of instructions that kernels are written for, by name; of an architecture the widest first.
TARGETS = {
    "avx512": Machine(16, 32),
    "avx2": Machine(8, 16),
    "sse4": Machine(4, 16),
    "neon": Machine(4, 32, "aarch64"),
}
