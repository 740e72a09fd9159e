"""What importing costs: each statement in fresh processes of its own, in turn."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.peers import ROOT, plain_environment

# The last pair, because a package that puts off its imports is not ready yet after `import` alone.
STATEMENTS = (
    "import keras",
    "import convmill",
    "from keras import layers, models",
    "from convmill import layers, models",
)
TIMEOUT = 120.0

_PROGRAM = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def _seconds(statement: str) -> float | None:
    """Seconds that the statement takes in a fresh process; None where it fails."""
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(statement)],
        cwd=ROOT,
        env={**plain_environment(), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return float(finished.stdout.splitlines()[-1]) if finished.returncode == 0 else None


def measure(repeats: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds of every import, by statement."""
    seconds: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    # The first of each fills the disk's cache and does not count.
    for number in range(repeats + 1):
        for statement in STATEMENTS:
            tell(f"{statement}, {number} of {repeats}")
            value = _seconds(statement)
            if number and value is not None:
                seconds[statement].append(value)
    return seconds
