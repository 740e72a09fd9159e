"""What `import` costs: each package in fresh processes of its own, in turn."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.peers import ROOT, plain_environment

PACKAGES = ("keras", "convmill")
TIMEOUT = 120.0

_PROGRAM = (
    "import time; start = time.perf_counter(); import {package}; print(time.perf_counter() - start)"
)


def _seconds(package: str) -> float | None:
    """Seconds that the import takes within one fresh process; None where it fails."""
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(package=package)],
        cwd=ROOT,
        env={**plain_environment(), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return float(finished.stdout.splitlines()[-1]) if finished.returncode == 0 else None


def measure(repeats: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds of every import, by package."""
    seconds: dict[str, list[float]] = {package: [] for package in PACKAGES}
    # The first of each fills the disk's cache and does not count.
    for number in range(repeats + 1):
        for package in PACKAGES:
            tell(f"import {package}, {number} of {repeats}")
            value = _seconds(package)
            if number and value is not None:
                seconds[package].append(value)
    return seconds
