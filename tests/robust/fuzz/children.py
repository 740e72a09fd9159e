"""Runs cases in a process of their own, and goes on with another one where that dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from tests.robust.fuzz.child import SECONDS
from tests.robust.fuzz.outcomes import FAULT

START = 600.0  # seconds that a process may take before its first case
MOST_UNSTARTED = 3  # processes in a row that come to no case: behind them a kind ends


class Wrong(NamedTuple):
    """A case that is a fault: what was tried, and what went wrong."""

    number: int
    what: str
    text: str


@dataclass(frozen=True)
class Told:
    """What came of some cases: how many, by what was tried and its outcome; and their faults."""

    counts: Counter[tuple[str, str]]
    faults: tuple[Wrong, ...]


def told(kind: str, numbers: range, patience: float) -> Iterator[Told]:
    """What came of all cases; one that takes longer than ``patience`` seconds hangs.

    Where a case ends its process, those before it of which nothing was told are run again. A
    process that cannot start is a fault of its first case. Where several in a row cannot, the last
    of these faults says that the kind ends there.
    """
    child: Child | None = None
    unstarted = 0
    waiting: list[range | Wrong] = [numbers]  # the next ones last
    try:
        while waiting:
            some = waiting.pop()
            if isinstance(some, Wrong):
                yield Told(Counter({(some.what, FAULT): 1}), (some,))
                continue
            if not some:
                continue
            child = child or Child(kind)
            unstarted = 0 if child.has_started else unstarted + 1
            found = child.ask(some, patience) if child.has_started else None
            if found is not None:
                waiting.append(range(found["behind"], some.stop))
                if found["full"]:
                    child.end()
                    child = None
                yield _told(found)
                continue
            at, text = min(max(child.at, some.start), some.stop - 1), child.end()
            wrong, child = Wrong(at, child.state, f"{child.state}\n{text}"), None
            if unstarted == MOST_UNSTARTED:
                text = f"{wrong.text}\n{unstarted} in a row did not start: {kind} ends here"
                waiting = [wrong._replace(text=text)]
            else:
                waiting += [range(at + 1, some.stop), wrong, range(some.start, at)]
    finally:
        if child is not None:
            child.end()


def _told(found: dict[str, Any]) -> Told:
    counts = Counter({(what, outcome): count for what, outcome, count in found["counts"]})
    return Told(counts, tuple(Wrong(*one) for one in found["faults"]))


class Child:
    """A process that runs cases of one kind, if it ``has_started``."""

    def __init__(self, kind: str) -> None:
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.place = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self.place.write(bytes(8))
        self.place.flush()
        command = [sys.executable, "-W", "ignore", "-m", "tests.robust.fuzz.child"]
        self.process = subprocess.Popen(
            [*command, kind, self.place.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self.state = ""
        self.has_started = self._line(START) is not None
        if not self.has_started:
            self.state += " before the first case"

    def ask(self, numbers: range, patience: float) -> dict[str, Any] | None:
        """What came of the first of the numbers; None where the process died or hangs, which
        ``state`` tells."""
        stdin: Any = self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{numbers.start} {numbers.stop}\n".encode())
            stdin.flush()
        return self._line(SECONDS + patience)  # cases that do not hang end within SECONDS

    @property
    def at(self) -> int:
        """The number of the case that it is in, or was in last."""
        self.place.seek(0)
        number: int = struct.unpack("q", self.place.read(8))[0]
        return number

    def _line(self, patience: float) -> dict[str, Any] | None:
        stdout: Any = self.process.stdout
        readable, _, _ = select.select([stdout], [], [], patience)
        line = stdout.readline() if readable else b""
        if not line:
            self.state = "crash" if readable else f"hang of {patience - SECONDS:.0f} s"
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> str:
        """Ends the process; the last that it said."""
        if self.state.startswith("hang"):
            self.process.send_signal(6)  # SIGABRT, at which Python says where it is
        else:
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.place.close()
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - 3000))
        said = self.errors.read()
        self.errors.close()
        return f"exit code {code}\n{said}"
