"""Processes killed at random moments while they write: what they leave is whole.

    python -m tests.robust.kills [--kind KIND ...] [--kills N] [--seed S]

``make soak`` is the long form; the short one is ``test_kills.py``. Where something is wrong, the
others go on, what was left stays for ``--kind KIND --check FOLDER``, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tests.conftest  # noqa: F401  isort: skip  (the environment of all tests)
from tests.robust.kills import children
from tests.robust.kills.kinds import KINDS
from tests.robust.kills.turns import table, take_turns


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.robust.kills")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kills", type=int, default=1000, help="of all kinds, in turns")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="what a fault has left")
    options = parser.parse_args(arguments)
    if options.check:
        children.check(options.kind[0], options.check)
        return 0
    place = Path(tempfile.mkdtemp(prefix="convmill-kills-"))
    counts = take_turns(options.kind, options.kills, options.seed, place)
    print(table(counts))
    if any(count.faults for count in counts.values()):
        print(f"What was left is in {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
