"""What the report says of the machine."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def _first_field(file: str, name: str) -> str | None:
    """The value of the first `name : value` line of one of /proc's files."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """CPU, cores, memory, system, Python and date, as text fit for the header."""
    memory = _first_field("/proc/meminfo", "MemTotal")
    return {
        "cpu": _first_field("/proc/cpuinfo", "model name")
        or platform.processor()
        or platform.machine(),
        "cores": available_cores(),
        "memory_gib": round(int(memory.split()[0]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
