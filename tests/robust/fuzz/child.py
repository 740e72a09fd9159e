"""The process in which cases run: ``python -m tests.robust.fuzz.child KIND PLACE``.

It is told a range of numbers a line, and tells what came of them, a line of JSON. Which number it
is at stands in the file ``PLACE``, which is mapped: so that costs nothing.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import IO, Any

MOST_MEMORY = 3 << 30  # bytes that a process may grow to before another one takes its place
SECONDS = 1.0  # after which it tells what came of the cases so far
IN_MEMORY = "/dev/shm"  # where files cost the least, if it is there


def main(kind: str, place: str) -> None:
    """Runs cases until nobody asks for more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what cases print is theirs
    faulthandler.enable()
    warnings.simplefilter("ignore")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ.update(CONVMILL_CACHE="", CONVMILL_OFFLINE="1", MPLBACKEND="agg")
    from tests.robust.fuzz.kinds import begin

    where = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with open(place, "r+b") as file, tempfile.TemporaryDirectory(dir=where) as folder:
        at = mmap.mmap(file.fileno(), 0)
        case = begin(kind, Path(folder))
        _tell(answers, {"ready": True})
        for line in sys.stdin:
            _tell(answers, _run(case, range(*map(int, line.split())), at))


def _run(case: Any, numbers: range, at: mmap.mmap) -> dict[str, Any]:
    """What came of as many of the numbers as fit into the time, and where it went on to."""
    end = time.monotonic() + SECONDS
    counts: Counter[tuple[str, str]] = Counter()
    faults, behind = [], numbers.start
    for number in numbers:
        struct.pack_into("q", at, 0, number)
        what, outcome, fault = _one(case, number)
        counts[what, outcome] += 1
        if fault:
            faults.append((number, what, fault))
        behind = number + 1
        if time.monotonic() > end:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "behind": behind,
        "counts": [[*key, count] for key, count in counts.items()],
        "faults": faults,
        "full": peak > MOST_MEMORY,
    }


def _one(case: Any, number: int) -> tuple[str, str, str]:
    """What was tried, what came of it, and what was wrong, if anything was."""
    from tests.robust.fuzz.outcomes import FAULT, Fault

    try:
        return *case(number), ""
    except Fault as fault:
        return fault.what, FAULT, str(fault) or "a fault"
    except Exception:
        return "harness", FAULT, traceback.format_exc(limit=-8)


def _tell(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
