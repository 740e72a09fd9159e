"""Runs cases in a process of their own, and goes on with another one where that dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

START = 600.0  # seconds that a process may take before its first case
MOST_UNSTARTED = 3  # processes in a row that come to no case: behind them a kind ends


@dataclass(frozen=True)
class Answer:
    """What came of a case: ``fault`` tells what went wrong, and is empty where nothing did."""

    number: int
    what: str
    outcome: str
    fault: str


def answers(kind: str, numbers: Iterable[int], patience: float) -> Iterator[Answer]:
    """What came of each case, in order; one that takes longer than ``patience`` seconds hangs.

    A process that cannot start is a fault of its first case. Where several in a row cannot, the
    last of these faults says that the kind ends there.
    """
    child: Child | None = None
    unstarted = 0
    try:
        for number in numbers:
            child = child or Child(kind)
            unstarted = 0 if child.has_started else unstarted + 1
            found = child.ask(number, patience) if child.has_started else None
            if found is None or found.get("full"):
                ended, child = child, None
                told = ended.end()
                found = found or {"what": ended.state, "fault": f"{ended.state}\n{told}"}
            if unstarted == MOST_UNSTARTED:
                found["fault"] += f"\n{unstarted} in a row did not start: {kind} ends here"
            yield Answer(number, found["what"], found.get("outcome", ""), found.get("fault", ""))
            if unstarted == MOST_UNSTARTED:
                return
    finally:
        if child is not None:
            child.end()


class Child:
    """A process that runs cases of one kind, if it ``has_started``."""

    def __init__(self, kind: str) -> None:
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-W", "ignore", "-m", "tests.robust.fuzz.child", kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors
        )
        self.state = ""
        self.has_started = self._line(START) is not None
        if not self.has_started:
            self.state += " before the first case"

    def ask(self, number: int, patience: float) -> dict[str, Any] | None:
        """What came of a case; None where the process died or hangs, which ``state`` tells."""
        stdin: Any = self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{number}\n".encode())
            stdin.flush()
        return self._line(patience)

    def _line(self, patience: float) -> dict[str, Any] | None:
        stdout: Any = self.process.stdout
        readable, _, _ = select.select([stdout], [], [], patience)
        line = stdout.readline() if readable else b""
        if not line:
            self.state = "crash" if readable else f"hang of {patience:.0f} s"
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
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - 3000))
        told = self.errors.read()
        self.errors.close()
        return f"exit code {code}\n{told}"
