"""Hostile input of five kinds, counted; ``make fuzz`` tries a million.

    python -m tests.robust.fuzz [--kind KIND ...] [--count N] [--seed S] [--minutes M]
                                [--record FILE]

``--count`` inputs in all are shared among the kinds as ``kinds.py`` says. The input of a kind and a
seed is always the same one: ``--kind files --seed 123 --count 1`` runs it again. With ``--record``
a run that was stopped, or whose minutes were over, goes on where it was. Cases run in processes of
their own, so that one that ends its process is told with its seed. Each ends in a right result or
in a clear error; all else is a fault, and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.robust.fuzz import record
from tests.robust.fuzz.children import Wrong, told
from tests.robust.fuzz.kinds import KINDS, SHARES, shared
from tests.robust.fuzz.outcomes import FAULT
from tests.robust.fuzz.record import Counts, Record

HANG = 60.0  # seconds
MOST_TOLD = 20  # faults of a kind that are told in full


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.robust.fuzz", description=main.__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, default=sum(SHARES.values()), help="inputs in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first input of each kind")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="in all")
    parser.add_argument("--record", type=Path, help="keep counts there, and go on from them")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    try:
        records = record.read(options.record, options.seed)
    except ValueError as error:
        parser.error(str(error))
    for kind, count in shared(options.count, options.kind).items():
        one = records.setdefault(kind, Record())
        numbers = range(options.seed + one.counts.total(), options.seed + count)
        run(kind, numbers, end, one, lambda: record.write(options.record, options.seed, records))
    totals = Counter[tuple[str, str]]()
    for kind in options.kind:
        for (_, outcome), count in records[kind].counts.items():
            totals[kind, outcome] += count
    print(table("inputs", totals))
    return 1 if faults(totals) else 0


def run(
    kind: str, numbers: range, end: float, one: Record, keep: Callable[[], None] = lambda: None
) -> None:
    """Runs cases of a kind, adds to what is recorded of it, and prints that."""
    before = time.monotonic()
    seconds = one.seconds
    for some in told(kind, numbers, HANG):
        for wrong in some.faults:
            if faults(one.counts) < MOST_TOLD:
                _print(kind, wrong)
        one.counts += some.counts
        one.seconds = seconds + time.monotonic() - before
        keep()
        if time.monotonic() > end:
            break
    rate = one.counts.total() / max(one.seconds, 1e-9)
    print(table(kind, one.counts) + f"{one.seconds:,.0f} s, {rate:,.1f} a second\n", flush=True)


def _print(kind: str, wrong: Wrong) -> None:
    again = f"python -m tests.robust.fuzz --kind {kind} --seed {wrong.number} --count 1"
    print(f"{kind} {wrong.number}: {wrong.what}: {wrong.text}\nagain: {again}", flush=True)


def faults(counts: Counts) -> int:
    """How many of the inputs were faults."""
    return sum(count for (_, outcome), count in counts.items() if outcome == FAULT)


def table(title: str, counts: Counts) -> str:
    """Counts by what was tried and what came of it."""
    outcomes = [*sorted({outcome for _, outcome in counts} - {FAULT}), FAULT]
    rows = sorted({what for what, _ in counts})
    width = max(map(len, [*rows, title]))
    lines = [f"{title:{width}}" + "".join(f"{name:>12}" for name in outcomes)]
    for what in rows:
        cells = "".join(f"{counts[what, name]:12,}" for name in outcomes)
        lines.append(f"{what:{width}}{cells}")
    total = "".join(f"{sum(counts[what, name] for what in rows):12,}" for name in outcomes)
    return "\n".join([*lines, f"{'all':{width}}{total}", ""])


if __name__ == "__main__":
    sys.exit(main())
