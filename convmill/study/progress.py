"""Progress of a study: a bar with the time left in terminals and notebooks, else a line a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convmill.printing import say
from convmill.study.measures import MEASURES
from convmill.study.result import Run
from convmill.study.training import Job
from convmill.study.words import shown
from convmill.train.progress import clock


class Progress:
    """Shows nothing; what shows something overrides ``say`` and ``draw``."""

    def say(self, line: str) -> None:
        """One line of text."""

    def draw(self, text: str) -> None:
        """What the bar says now, at ``share`` done."""

    @contextmanager
    def running(self, runs: int, done: int, work: float) -> Iterator[None]:
        """From here on runs are finished: ``runs`` in all, ``done`` before; ``work`` is that of the
        others, in any unit, 0 where it is not known."""
        self.runs, self.before, self.done = runs, done, done
        self.work, self.worked = work, 0.0
        self.began = time.monotonic()
        yield

    def finished(self, job: Job, found: Run | str, work: float) -> None:
        """One more run is finished, or has failed."""
        self.done += 1
        self.worked += work
        name = f"{job.arm.label}, seed {job.seed}"
        if isinstance(found, str):
            what = f"failed: {found}"
        else:
            first = MEASURES[job.measures[0]].measure
            value = shown(first, found.values[first.name])
            what = f"{first.label} {value}, {found.seconds:.1f} s"
        self.say(f"{self.done}/{self.runs}  {name}: {what}  {self._left()}".rstrip())
        self.draw(self._left())

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        if self.work:
            return min(self.worked / self.work, 1.0)
        return (self.done - self.before) / max(self.runs - self.before, 1)

    def _left(self) -> str:
        """The time that is left, by the work that is done."""
        if self.done == self.runs or not self.share:
            return ""
        passed = time.monotonic() - self.began
        return f"({clock(passed * (1 - self.share) / self.share)} left)"


class Lines(Progress):
    """One plain line a run."""

    def say(self, line: str) -> None:
        say(line, sys.stdout)


class Bar(Progress):
    """Lines, and beneath them a bar that is drawn anew: rich's, which notebooks show as well."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.percentage:3.0f}% {task.fields[left]}"),
        )
        self.task: Any = None

    def say(self, line: str) -> None:
        self.bar.console.print(line, markup=False, highlight=False)

    @contextmanager
    def running(self, runs: int, done: int, work: float) -> Iterator[None]:
        with super().running(runs, done, work):
            if done == runs:
                yield
                return
            with self.bar:
                self.task = self.bar.add_task(f"{done}/{runs} runs", total=1.0, left="")
                yield

    def draw(self, text: str) -> None:
        said = f"{self.done}/{self.runs} runs"
        self.bar.update(self.task, completed=self.share, description=said, left=text)


def progress_for(verbose: bool) -> Progress:
    """What suits standard output."""
    if not verbose or sys.stdout is None:
        return Progress()
    from rich.console import Console

    console = Console()
    return Bar() if console.is_terminal or console.is_jupyter else Lines()
