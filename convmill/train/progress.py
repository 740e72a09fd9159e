"""Progress of fit, evaluate and predict: a live line on a terminal, else one plain line an epoch.

On a terminal, one line is drawn anew a few times a second, and cut to the terminal's width:

    Epoch 2/5 ━━━━━━━━━━──────────  52%  loss 0.0512  accuracy 0.9841  14,210 images/s  0:02

``verbose=2`` gives the lines that Keras gives.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import keras

from convmill import settings
from convmill.printing import printable, say

EPOCH = "Epoch"
DRAW_SECONDS = 0.1  # between two drawings of the live line
LONGEST_BAR = 24
SHORTEST_BAR = 8

_logger = logging.getLogger("convmill")


class Progress:
    """Shows nothing; what shows something overrides these."""

    def begin(self, epoch: int, images: int | None, steps: int | None) -> None:
        """An epoch of that many images, or steps where images are not known, begins."""

    def go_on(self, images: int, steps: int) -> None:
        """So many images and steps of the epoch were done by an earlier process."""

    def wants_update(self) -> bool:
        """Whether ``update`` would draw now."""
        return False

    def update(self, images: int, figures: Mapping[str, float]) -> None:
        """So many images of the epoch are done, those of an earlier process among them."""

    def worked(self, images: int) -> None:
        """The work of the epoch is done, on that many images, those of an earlier process among
        them; others may write before ``end``."""

    def end(self, logs: Mapping[str, Any]) -> None:
        """The epoch ended with these logs."""

    def close(self) -> None:
        """Leaves the terminal as it was found."""


@contextmanager
def progress_for(verbose: Any, epochs: int, title: str = EPOCH) -> Iterator[Progress]:
    """The progress that ``verbose`` ("auto", 0, 1 or 2) asks for, on standard output."""
    progress = _choose(1 if verbose == "auto" else int(verbose), epochs, title)
    try:
        yield progress
    finally:
        progress.close()


def _choose(verbose: int, epochs: int, title: str) -> Progress:
    if verbose == 0 or sys.stdout is None:
        return Progress()
    if verbose == 2:
        return StepLines(epochs, title)
    if keras.config.is_interactive_logging_enabled() and is_terminal(sys.stdout):
        return LiveLine(epochs, title, sys.stdout)
    return PlainLines(epochs, title)


def is_terminal(stream: TextIO) -> bool:
    """Whether lines on ``stream`` can be drawn anew."""
    import os

    return bool(stream.isatty()) and os.environ.get("TERM", "") != "dumb"


def _print(line: str) -> None:
    """One line to standard output, or to the log where Keras is told to log too."""
    if keras.config.is_interactive_logging_enabled():
        say(line, sys.stdout)
    else:
        _logger.info(line)


class _Timed(Progress):
    """Knows its epoch, when it began, and the seconds and images that its work took; what an
    earlier process has done took none of these seconds."""

    def __init__(self, epochs: int, title: str) -> None:
        self.epochs, self.title = epochs, title
        self.began = time.perf_counter()
        self.seconds, self.done = 0.0, 0
        self.images_before, self.steps_before = 0, 0

    def begin(self, epoch: int, images: int | None, steps: int | None) -> None:
        self.epoch, self.images, self.steps = epoch, images, steps
        self.images_before, self.steps_before = 0, 0
        self.began = time.perf_counter()

    def go_on(self, images: int, steps: int) -> None:
        self.images_before, self.steps_before = images, steps

    def worked(self, images: int) -> None:
        # A callback that compiles the model anew has what was counted forgotten.
        self.seconds, self.done = self.passed, max(images - self.images_before, 0)

    @property
    def passed(self) -> float:
        """Seconds since the epoch began."""
        return max(time.perf_counter() - self.began, 1e-9)

    @property
    def name(self) -> str:
        """What is going on."""
        counted = self.title == EPOCH
        return f"{self.title} {self.epoch + 1}/{self.epochs}" if counted else self.title


class PlainLines(_Timed):
    """One line at the end of each epoch, without control characters."""

    def end(self, logs: Mapping[str, Any]) -> None:
        _print(f"{self.name}: " + ", ".join(summary(logs, self.done, self.seconds)))


class StepLines(_Timed):
    """``verbose=2``: at the end of each epoch a line as Keras writes it."""

    def begin(self, epoch: int, images: int | None, steps: int | None) -> None:
        super().begin(epoch, images, steps)
        if self.epochs > 1:
            _print(f"Epoch {epoch + 1}/{self.epochs}")

    def end(self, logs: Mapping[str, Any]) -> None:
        steps = self.steps or 1
        each = self.seconds / max(steps - self.steps_before, 1)
        parts = [f"{steps}/{steps}", f"{self.seconds:.0f}s", _step_time(each)]
        _print(" - ".join([*parts, *(f"{n}: {_figure(v)}" for n, v in logs.items())]))


class LiveLine(_Timed):
    """A line that is drawn anew while the epoch runs, and stays when it has ended."""

    def __init__(self, epochs: int, title: str, stream: TextIO) -> None:
        super().__init__(epochs, title)
        self.stream = stream
        self.drawn = 0.0
        self.open = False  # whether the line waits to be drawn anew

    def wants_update(self) -> bool:
        return time.perf_counter() - self.drawn >= DRAW_SECONDS

    def update(self, images: int, figures: Mapping[str, float]) -> None:
        self.drawn = time.perf_counter()
        before = self.images_before
        state = State(self.name, max(images, before), self.images, self.passed, figures, before)
        self._write("\r" + live(state, self._width(), _bars(self.stream)) + "\x1b[K")
        self.open = True

    def worked(self, images: int) -> None:
        super().worked(images)
        if self.open:
            self._write("\r\x1b[K")
            self.open = False

    def end(self, logs: Mapping[str, Any]) -> None:
        text = wrapped(self.name, summary(logs, self.done, self.seconds), self._width())
        self._write("\r\x1b[K" + text + "\n")
        self.open = False

    def close(self) -> None:
        if self.open:  # interrupted: what was drawn stays
            self._write("\n")
            self.open = False

    def _width(self) -> int:
        # The last column stays empty: some terminals break the line there.
        return max(shutil.get_terminal_size().columns - 1, 20)

    def _write(self, text: str) -> None:
        self.stream.write(printable(text, self.stream))
        self.stream.flush()


# Text -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """How far an epoch is; ``total`` is None where its images are not known. The seconds went into
    all ``images`` but the first ``before``."""

    name: str
    images: int
    total: int | None
    seconds: float
    figures: Mapping[str, float]
    before: int = 0

    @property
    def rate(self) -> float:
        """Images a second."""
        return (self.images - self.before) / self.seconds

    @property
    def left(self) -> float | None:
        """Seconds until the epoch ends, or None where nothing tells."""
        return max(self.total - self.images, 0) / self.rate if self.total and self.rate else None

    @property
    def share(self) -> float | None:
        """From 0 to 1, or None where it is not known."""
        return None if not self.total else min(self.images / self.total, 1.0)


@dataclass(frozen=True)
class Bar:
    """How a bar is drawn."""

    done: str
    left: str
    colour: str = ""

    def draw(self, share: float, width: int) -> str:
        """A bar ``width`` columns wide."""
        filled = round(share * width)
        text = self.done * filled
        if self.colour and filled:
            text = f"\x1b[{self.colour}m{text}\x1b[0m"
        return text + self.left * (width - filled)


def _bars(stream: TextIO) -> Bar:
    """Lines where the stream can show them, else ASCII; green unless colours are not wanted."""
    colour = "32" if settings.colours() else ""
    if printable("━─", stream) != "━─":
        return Bar("=", ".", colour)
    return Bar("━", "─", colour)


def live(state: State, width: int, bar: Bar) -> str:
    """The live line, at most ``width`` columns wide: what matters least is left out first."""
    share, left = state.share, state.left
    fields = [state.name]
    if share is not None:
        fields.append(f"{share:4.0%}")
    fields += [f"{name} {value:.4f}" for name, value in state.figures.items()]
    if left is not None:
        fields.append(clock(left))
    fields.append(f"{state.rate:,.0f} images/s")
    while len(fields) > 1 and len("  ".join(fields)) > width:
        fields.pop()
    text = "  ".join(fields)
    room = min(width - len(text) - 1, LONGEST_BAR)
    if share is None or room < SHORTEST_BAR:
        return text[:width]
    name, rest = text[: len(state.name)], text[len(state.name) + 1 :]
    return f"{name} {bar.draw(share, room)} {rest}"


def summary(logs: Mapping[str, Any], images: int, seconds: float) -> list[str]:
    """What remains to be said of an epoch that has ended; no rate where an earlier process has
    done its work."""
    ordered = sorted(logs, key=_place)
    figures = [f"{name} {_figure(logs[name])}" for name in ordered]
    rate = [f"{images / seconds:,.0f} images/s"] if images else []
    return [*figures, *rate, f"{seconds:.1f} s"]


def _place(name: str) -> tuple[bool, bool, bool, str]:
    """Where a log stands: the loss, those of outputs, metrics; then the same of validation."""
    own = name.removeprefix("val_")
    return own != name, own != "loss", "loss" not in own, own


def wrapped(name: str, parts: list[str], width: int) -> str:
    """Parts behind a name, on as many lines as they need; further lines are indented."""
    lines = [name]
    for part in parts:
        if len(lines[-1]) + 2 + len(part) > width and lines[-1].strip():
            lines.append("")
        lines[-1] += "  " + part
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too: 0:07, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _figure(value: Any) -> str:
    """A number with four decimals, small ones with an exponent; other results as they print."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def _step_time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.0f}{unit}/step"
    return f"{seconds * 1e6:.0f}us/step"
