"""What a run of ``fit`` asks of whoever keeps its state while it trains; here nobody does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from convmill.train.bound import Bound
from convmill.train.feed import Execution, Part, Uncovered
from convmill.train.guard import Guard


@dataclass(frozen=True)
class Start:
    """The epoch with which a run begins, and the logs of the one before."""

    epoch: int
    logs: dict[str, Any] = field(default_factory=dict)


class Keeping:
    """Nothing is kept, and every run begins at its beginning."""

    def __init__(self, guard: Guard | None = None) -> None:
        self.guard = Guard(None, None) if guard is None else guard

    def prepare(self) -> None:
        """Before callbacks hear of the run."""
        self.guard.take()

    def start(self, epoch: int) -> Start:
        """Where the run begins, which was to be ``epoch``; the state is that of then."""
        return Start(epoch)

    def is_midway(self, epoch: int) -> bool:
        """Whether an epoch goes on that an earlier process has begun."""
        return False

    def restore_scores(self) -> None:
        """What that one has counted of the epoch is counted."""

    def is_over(self) -> bool:
        """Whether the steps of the epoch at hand were all done by an earlier process."""
        return False

    @property
    def done(self) -> int:
        """Steps of the epoch at hand that are done."""
        return 0

    def begin_steps(self, epoch: int, heard: bool) -> None:
        """The steps of an epoch begin; ``heard`` is whether a callback hears of batches."""

    def remaining(self, parts: Iterable[Part | Uncovered]) -> Iterator[Part | Uncovered]:
        """Those of an epoch's parts that are still to be trained."""
        return iter(parts)

    def is_done(self, execution: Execution) -> bool:
        """Whether an earlier process has done these steps."""
        return False

    def room(self, part: Part) -> Part:
        """As much of a part as may be trained at once."""
        return part

    def is_wanted(self) -> bool:
        """Whether training is to stop behind the step that it is in; asked by any thread."""
        return self.guard.is_alarmed

    def add(self, steps: int, bound: Bound) -> None:
        """So many steps are done, and counted."""

    def end_execution(self, bound: Bound, stopped: bool) -> None:
        """Callbacks have heard of a batch; ``stopped`` is whether it was the epoch's last."""

    def end_steps(self, bound: Bound) -> None:
        """The steps of an epoch are done, and Keras' variables have what they changed."""

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Callbacks have heard of the end of an epoch."""

    def finish(self) -> None:
        """The last epoch is done."""

    def end(self) -> None:
        """Callbacks have heard of the end of the run."""

    def close(self) -> None:
        """The run has ended, in whichever way."""
        self.guard.leave()


NOTHING = Keeping()
