"""What ``convmill train`` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convmill.cli.text import echo
from convmill.presets.preset import Preset


@dataclass(frozen=True)
class Job:
    """What to train, on what and how: the options of ``convmill train``."""

    data_name: str | None
    model: str | None
    recipe: str | None
    preset: Preset | None  # net, loss and optimizer of the recipe
    epochs: int
    batch_size: int
    optimizer: str | None
    seed: int
    threads: int | None
    out: Path | None
    validate: bool
    history: Path | None
    report: Path | None
    checkpoint: Path | None  # the folder
    every: str
    quiet: bool
    fingerprint: str | None = None  # of the data that the training began with

    def say(self, line: str) -> None:
        """Prints a line, unless only JSON was asked for."""
        if not self.quiet:
            echo(line)
