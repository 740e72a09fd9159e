"""The process in which cases run: ``python -m tests.robust.fuzz.child KIND``.

It is told a number a line, and tells what came of it, a line of JSON each.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import IO, Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.update(CONVMILL_CACHE="", CONVMILL_OFFLINE="1", MPLBACKEND="agg")

MOST_MEMORY = 3 << 30  # bytes that a process may grow to before another one takes its place


def main(kind: str) -> None:
    """Runs cases until nobody asks for more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what cases print is theirs
    faulthandler.enable()
    warnings.simplefilter("ignore")
    from tests.robust.fuzz.kinds import begin

    with tempfile.TemporaryDirectory() as folder:
        case = begin(kind, Path(folder))
        _tell(answers, {"ready": True})
        for line in sys.stdin:
            _tell(answers, _run(case, int(line)))


def _run(case: Any, number: int) -> dict[str, Any]:
    from tests.robust.fuzz.outcomes import Fault

    try:
        what, outcome = case(number)
        answer = {"what": what, "outcome": outcome}
    except Fault as fault:
        answer = {"what": fault.what, "fault": str(fault)}
    except Exception:
        answer = {"what": "harness", "fault": traceback.format_exc(limit=-8)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return answer | {"full": peak > MOST_MEMORY}


def _tell(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
