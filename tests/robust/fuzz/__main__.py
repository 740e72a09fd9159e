"""Hostile input of five kinds, counted; ``make fuzz`` runs all of them.

    python -m tests.robust.fuzz [--kind KIND ...] [--count N] [--seed S] [--minutes M]

The case of a kind and a seed is always the same one: ``--kind files --seed 123 --count 1`` runs it
again. Cases run in processes of their own, so that one that ends its process is told with its
seed. Each ends in a right result or in a clear error; all else is a fault, and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.robust.fuzz.children import answers
from tests.robust.fuzz.kinds import KINDS

HANG = 60.0  # seconds
MOST_TOLD = 20  # faults of a kind that are told in full


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.robust.fuzz", description=main.__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for each kind")
    options = parser.parse_args(arguments)
    faults = 0
    for kind in options.kind:
        end = time.monotonic() + 60 * options.minutes
        numbers = range(options.seed, options.seed + options.count)
        faults += run(kind, numbers, end)
    return 1 if faults else 0


def run(kind: str, numbers: range, end: float) -> int:
    """Runs cases of a kind and prints what came of them; the number of faults."""
    counts: Counter[tuple[str, str]] = Counter()
    for answer in answers(kind, numbers, HANG):
        outcome = "fault" if answer.fault else answer.outcome
        counts[answer.what, outcome] += 1
        if answer.fault and counts.total() and _faults(counts) <= MOST_TOLD:
            print(f"{kind} {answer.number}: {answer.what}: {answer.fault}", flush=True)
        if time.monotonic() > end:
            break
    print(table(kind, counts), flush=True)
    return _faults(counts)


def _faults(counts: Counter[tuple[str, str]]) -> int:
    return sum(count for (_, outcome), count in counts.items() if outcome == "fault")


def table(kind: str, counts: Counter[tuple[str, str]]) -> str:
    """Counts by what was tried and what came of it."""
    outcomes = [*sorted({outcome for _, outcome in counts} - {"fault"}), "fault"]
    rows = sorted({what for what, _ in counts})
    width = max(map(len, [*rows, kind]), default=0)
    lines = [f"{kind:{width}}" + "".join(f"{name:>12}" for name in outcomes)]
    for what in rows:
        cells = "".join(f"{counts[what, name]:12,}" for name in outcomes)
        lines.append(f"{what:{width}}{cells}")
    total = "".join(f"{sum(counts[what, name] for what in rows):12,}" for name in outcomes)
    return "\n".join([*lines, f"{'all':{width}}{total}", ""])


if __name__ == "__main__":
    sys.exit(main())
