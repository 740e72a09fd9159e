"""Runs Keras' own tests, plain and through convmill, and writes the table.

    python -m tests.peers [--group NAME ...] [--out FILE]

Exits with 1 where a case fails with convmill that plain Keras passes and that is not explained in
``groups.py``, or where nothing of a group ran compiled.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.peers import table
from tests.peers.groups import GROUPS, Group
from tests.peers.run import REPOSITORY, Case, run

AT_ONCE = 2  # processes: each keeps a core busy
PACKAGES = ("keras", "jax", "numpy", "llvmlite")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    names = [group.name for group in GROUPS]
    parser.add_argument("--group", action="append", choices=names, help="only this one")
    parser.add_argument("--out", type=Path, help="where the table goes (docs/peer-tests.md)")
    options = parser.parse_args(arguments)
    chosen = [group for group in GROUPS if not options.group or group.name in options.group]
    results = run_groups(chosen)
    text = table.markdown(results, {name: importlib.metadata.version(name) for name in PACKAGES})
    out = options.out or (None if options.group else REPOSITORY / "docs" / "peer-tests.md")
    if out is None:
        print(text)
    else:
        _write(out, text)
        print(f"written: {out}")
    for name in table.settled(results):
        print(f"passes now, take its reason out of groups.py: {name}")
    problems = table.problems(results)
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def run_groups(groups: Sequence[Group]) -> list[table.Result]:
    """Each group in plain Keras and with convmill, two processes at a time."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        plain = [pool.submit(_timed, group, (), Path(scratch)) for group in groups]
        routed = [pool.submit(_timed, group, group.routes, Path(scratch)) for group in groups]
        return [
            table.Result(group, one.result(), other.result())
            for group, one, other in zip(groups, plain, routed, strict=True)
        ]


def _write(out: Path, text: str) -> None:
    """All of it, or the old file stays."""
    beside = out.with_name(f".{out.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, out)


def _timed(group: Group, routes: Sequence[str], scratch: Path) -> dict[str, Case]:
    began = time.monotonic()
    cases = run(group.modules, group.select, routes, scratch)
    passed = sum(case.outcome == "passed" for case in cases.values())
    where = "convmill" if routes else "plain Keras"
    seconds = time.monotonic() - began
    print(f"{group.name}, {where}: {passed} of {len(cases)} pass ({seconds:.0f} s)", flush=True)
    return cases


if __name__ == "__main__":
    sys.exit(main())
