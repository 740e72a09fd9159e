"""What is said where Keras takes over because the compiler does not cover something."""

from __future__ import annotations

import sys
from typing import Any

from convmill.plan.graph import NotCovered
from convmill.printing import say
from convmill.train.session import Session


def remark(current: Session, note: str, model: Any) -> None:
    """Says once for each model what is computed otherwise than asked for."""
    if note not in current.said:
        current.said.add(note)
        say(f"convmill: {model.name}: {note}.", sys.stderr)


def fall_back(current: Session, gap: NotCovered, model: Any) -> None:
    """Says once for each reason that Keras takes over; raises where the model is strict."""
    if current.is_strict:
        raise gap
    if gap.reason in current.said:
        return
    current.said.add(gap.reason)
    say(
        f"convmill: {model.name} runs on Keras' own path. Not covered: {gap}.",
        sys.stderr,
    )
