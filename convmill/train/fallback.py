"""What is said where Keras takes over because the compiler does not cover something."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convmill.plan.graph import DataNotCovered, NotCovered
from convmill.printing import say
from convmill.reasons import reason_of
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


# Those whose words tell nothing of what the user passed.
_LIBRARIES = ("jax", "jaxlib", "keras", "numpy", "optree", "tree")


@contextmanager
def told(gap: NotCovered) -> Iterator[None]:
    """Within, Keras runs what is not covered. Where it cannot take data that the compiler does not
    take either, one ValueError says so, and not the libraries alone."""
    try:
        yield
    except Exception as error:
        if isinstance(gap, DataNotCovered) and _raised_in(error) in _LIBRARIES:
            raise ValueError(
                f"{gap.remedy[:1].upper()}{gap.remedy[1:]}. Received: {gap.reason}, which neither "
                f"convmill nor Keras can take. Keras says: {reason_of(error)}"
            ) from error
        raise


def _raised_in(error: BaseException) -> str:
    """The package in which an error arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return name.partition(".")[0]
