"""A part that native code goes through piece by piece: what is done, and what is next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from convmill.train.feed import Part

if TYPE_CHECKING:
    from convmill.runtime.program import Measured, Watch

Outputs = list[np.ndarray]  # room for predictions, for each output float32 (m, *output shape)

# Seconds between two looks at a run of which every step is a piece.
_SHOWN = 0.05


class Pieces:
    """A part that is gone through piece by piece: what is done, and what is next.

    A piece is ``at_once`` steps, or the rest; ``outputs`` are the piece's share of the part's.
    """

    def __init__(
        self, part: Part, outputs: Outputs | None, watch: Watch, at_once: int | None = None
    ) -> None:
        self.part, self.at_once = part, at_once
        self._outputs, self._watch = outputs, watch
        self.done: list[Measured] = []
        self.steps = 0  # that are done
        self._shown = time.monotonic()

    @property
    def remain(self) -> bool:
        """Whether there are steps to do."""
        return self.steps < self.part.steps

    @property
    def rest(self) -> Part:
        """The next piece."""
        return replace(self.part, order=self.part.order[self._places()])

    @property
    def outputs(self) -> Outputs | None:
        """Where the next piece's predictions go."""
        return None if self._outputs is None else [one[self._places()] for one in self._outputs]

    def _places(self) -> slice:
        size = self.part.batch_size
        first = self.steps * size
        return slice(first, None if self.at_once is None else first + self.at_once * size)

    def add(self, measured: Measured) -> None:
        """Counts steps of the next piece as done."""
        self.done.append(measured)
        self.steps += measured.steps

    def watch(self, measured: Measured) -> None:
        """Shows what is done of this piece and those before."""
        self._watch(_joined([*self.done, measured]))

    def show(self) -> None:
        """Shows what is done, some twenty times a second and at the end."""
        if not self.remain or time.monotonic() - self._shown > _SHOWN:
            self._watch(_joined(self.done))
            self._shown = time.monotonic()

    def measured(self) -> Measured:
        """What was measured, of all pieces."""
        return _joined(self.done)


def _joined(pieces: Sequence[Measured]) -> Measured:
    if len(pieces) == 1:
        return pieces[0]
    return replace(
        pieces[0],
        losses=np.concatenate([measured.losses for measured in pieces], axis=1),
        rights=np.concatenate([measured.rights for measured in pieces], axis=1),
        penalty=np.concatenate([measured.penalty for measured in pieces]),
        steps=sum(measured.steps for measured in pieces),
    )
