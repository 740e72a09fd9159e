"""What is trained while checkpoints are kept of it, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convmill.train.bound import Bound
from convmill.train.checkpoint.objects import Owner
from convmill.train.scores import Scores


@dataclass(frozen=True)
class Run:
    """What is trained, and with what: ``facts`` about it must be those of the run before."""

    model: Any
    bound: Bound
    scores: Scores
    callbacks: Sequence[Any]
    data: Owner | None  # where they have a state
    held_out: Owner | None  # of the validation data
    facts: dict[str, Any]
    epochs: int
    says: bool  # whether to tell that it goes on


@dataclass(frozen=True)
class Position:
    """``steps`` of ``epoch`` are done, ``total`` of the run. An epoch has ``begun`` once callbacks
    have heard so; its steps are ``over`` once there are no more, and its validation is next.
    ``heard`` is whether a callback hears of its batches."""

    epoch: int
    steps: int = 0
    total: int = 0
    begun: bool = False
    over: bool = False
    heard: bool = False


def check_facts(path: Path, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """ValueError where a checkpoint is of another run than this one."""
    for name, value in now.items():
        if saved.get(name) != value:
            raise ValueError(
                f"{path} is of another run: {name} was {saved.get(name)!r}. Received: {value!r}. "
                "Go on with the same model, data and callbacks, or give another folder."
            )
