"""Whether there is memory for code that would end the process where there is none.

LLVM aborts when it cannot allocate, ours and the one in XLA. So before they are called, as much as
they may take is allocated and given back. That is worth while only where somebody has set a limit
for the process (``ulimit -v``): without one, Linux promises memory whether there is any or not.
"""

from __future__ import annotations

import mmap
import os
import sys

MEGABYTE = 1 << 20
# Measured with llvmlite 0.48 on Linux: what loading it maps, and what compiling takes for each byte
# of LLVM IR (16 to 25), and at least.
LOADING = 200 * MEGABYTE
COMPILING = 32 * MEGABYTE
PER_BYTE = 32
# What JAX's threads and their memory map when its backend starts, at first and for each core: 0.94
# GB on one core and 1.1 GB on two, with jax 0.10.
STARTING = 850 * MEGABYTE
STARTING_A_CORE = 180 * MEGABYTE
# What XLA takes to compile an operation of Keras', with some to spare.
KERAS = 64 * MEGABYTE


def limit() -> int | None:
    """Bytes of address space that the process may take at most; None where there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def require_start() -> None:
    """Makes sure that a limited process may start JAX, which ends it where it may not. MemoryError
    as below; nothing is asked where JAX runs already, or is not what Keras runs on."""
    if limit() is None or os.environ.get("KERAS_BACKEND", "jax") != "jax" or _has_started():
        return
    require(STARTING + STARTING_A_CORE * (os.cpu_count() or 1), "starting JAX")


def _has_started() -> bool:
    try:
        from jax._src import xla_bridge

        return bool(xla_bridge.backends_are_initialized())
    except (ImportError, AttributeError):  # nothing that JAX promises
        return True


def require(wanted: int, purpose: str) -> None:
    """Makes sure that a limited process may take so many bytes more.

    Raises:
        MemoryError: it may not; says what it was for, and what to change.
    """
    allowed = limit()
    if allowed is None:
        return
    try:
        mmap.mmap(-1, wanted).close()
    except (OSError, ValueError, MemoryError) as error:
        raise MemoryError(
            f"{purpose} takes up to {wanted / 1e6:,.0f} MB, and that would be more than the "
            f"{allowed / 1e6:,.0f} MB of address space that this process may have. Raise the limit "
            "(ulimit -v), or hold less in memory: a smaller net, fewer images at once, fewer "
            "threads."
        ) from error
