"""One call of a model's method: whatever ends it, it leaves whole steps behind and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from convmill.runtime import reserve
from convmill.train import signals, turns
from convmill.train.bound import Bound
from convmill.train.state import settle

Result = TypeVar("Result")


def whole(model: Any, work: Callable[[], Result]) -> Result:
    """``work()``, with what its steps have changed written back, and signals heard in between."""
    reserve.require(reserve.KERAS, "an operation of Keras' backend")
    depth, outer = signals.depth(), turns.mine()
    ended = False
    try:
        try:
            signals.begin(lambda: settle(model))
            return work()
        finally:
            _end(model, depth, outer)
            ended = True
    finally:
        if not ended:  # an interrupt came while it ended
            _end(model, depth, outer)


def bring(bound: Bound) -> None:
    """Writes back what a Bound's steps have changed, for somebody who asks for a variable."""
    if turns.mine():
        bound.push_within()
    else:
        whole(bound.model, bound.push)


def _end(model: Any, depth: int, outer: list[turns.Turn]) -> None:
    turns.leave_interrupted(outer)
    if not outer:  # else a step is under way
        settle(model)
    signals.end(depth)
