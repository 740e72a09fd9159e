"""A Program, and which of Keras' values it holds: only what is another one is copied.

A variable's value is told by a *snapshot* that nothing changes any more. On JAX that is the
variable's own array, which is never written to: the same array means the same values, and costs
nothing. But Keras' own steps delete it ("donate" it), so what may be read behind one is a *copy*,
in NumPy. TensorFlow and PyTorch write into their arrays, so there a snapshot is a copy, and no two
are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convmill.train import late
from convmill.train.attach.variables import held_values

if TYPE_CHECKING:
    from convmill.runtime.program import Program

Snapshot = Any
Slots = Mapping[str, Sequence[Snapshot]]


def snapshot(variable: Any) -> Snapshot:
    """The present value of a Keras variable, for good; NumPy reads it as an array."""
    return variable.value if _immutable() else copied(variable)


def snapshots(variables: Sequence[Any]) -> list[Snapshot]:
    """The present values of Keras variables."""
    values = held_values(variables) if _immutable() else None
    return list(map(snapshot, variables)) if values is None else values


def copied(variable: Any) -> np.ndarray:
    """The present value of a Keras variable, which no step of Keras' takes away."""
    return np.array(keras.ops.convert_to_numpy(variable))


def known(variable: Any) -> Snapshot | None:
    """What ``snapshot`` would give while nobody assigns the variable; None where each is new."""
    return late.held(variable) if _immutable() else None


def is_same(value: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots have the same numbers."""
    return value is other or np.array_equal(np.asarray(value), np.asarray(other))


def _immutable() -> bool:
    return keras.backend.backend() == "jax"


class Loaded:
    """``program``, with the snapshots of what was last copied into it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._weights: Sequence[Snapshot | None] = ()
        self._slots: Mapping[str, Sequence[Snapshot | None]] = {}

    def take_weights(self, values: Sequence[Snapshot]) -> None:
        """Copies those weights into the Program that it does not hold."""
        before = self._weights
        if len(values) == len(before) and all(map(is_, values, before)):
            return
        self._weights = ()  # unknown until all is copied
        changed = _changed(values, before)
        if any(value is not None for value in changed):
            self.program.set_parameters(changed)
        self._weights = values

    def take_slots(self, values: Slots) -> None:
        """Copies those slots into the Program that it does not hold."""
        before, self._slots = self._slots, {}
        changed = {name: _changed(each, before.get(name, ())) for name, each in values.items()}
        if any(value is not None for each in changed.values() for value in each):
            self.program.set_slots(changed)
        self._slots = values

    def is_trained(self) -> None:
        """The Program's weights and slots will be others than those that were copied."""
        self._weights, self._slots = (), {}

    def is_written_back(
        self, weights: Sequence[Snapshot | None], slots: Mapping[str, Sequence[Snapshot | None]]
    ) -> None:
        """The Program's weights and slots are Keras' again, with these snapshots."""
        self._weights, self._slots = weights, slots


def _changed(
    values: Sequence[Snapshot], before: Sequence[Snapshot | None]
) -> list[np.ndarray | None]:
    """Values as arrays; None for each that is the same as before."""
    if len(values) != len(before):
        return [np.asarray(value) for value in values]
    return [
        None if value is old else np.asarray(value)
        for value, old in zip(values, before, strict=True)
    ]
