"""Losses and accuracies over the images so far, weighed as Keras weighs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmill.train.feed import Part

if TYPE_CHECKING:
    from convmill.runtime.program import Measured


@dataclass(frozen=True)
class Sums:
    """Sums over the images so far, at one output. ``loss`` weighs each batch's loss by its number
    of images."""

    loss: float = 0.0
    correct: float = 0.0
    weighted_correct: float = 0.0
    weight: float = 0.0

    @property
    def values(self) -> tuple[float, float, float, float]:
        """Its fields, in their order."""
        return self.loss, self.correct, self.weighted_correct, self.weight


@dataclass(frozen=True)
class Measure:
    """How an output's loss is counted: ``places`` are those of an image, ``mean`` whether a batch's
    loss is the mean over its images' places, not their sum, and ``weight`` what it weighs in the
    sum over all outputs."""

    places: int
    mean: bool
    weight: float

    def of_steps(
        self, output: int, part: Part, measured: Measured, sizes: np.ndarray
    ) -> np.ndarray:
        """What each step of ``part`` that is done, of so many images each, adds to the fields of
        Sums, (steps, 4)."""
        done = int(sizes.sum())
        starts = np.arange(measured.steps) * part.batch_size
        losses = _by_step(measured.losses[output, :done], starts)
        losses = losses / self.places if self.mean else losses * sizes
        correct = np.asarray(measured.rights[output, :done], np.float64)
        right = _by_step(correct, starts)
        weight = None if part.samples.weight is None else part.samples.weight[output]
        if weight is None:
            return _columns(losses, right, right, sizes)
        weights = weight[part.order[:done]].astype(np.float64)
        weights = weights.mean(axis=tuple(range(1, weights.ndim)))  # those of places count nothing
        weighted = _by_step(correct * weights, starts)
        return _columns(losses, right, weighted, _by_step(weights, starts))


def _columns(*columns: np.ndarray) -> np.ndarray:
    """Columns side by side, as ``numpy.stack`` puts them; in a part of its time for short ones."""
    found = np.empty((len(columns[0]), len(columns)))
    for number, column in enumerate(columns):
        found[:, number] = column
    return found


def _by_step(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of each step's values, float64 (steps,)."""
    if not len(starts):
        return np.zeros(0)
    return np.add.reduceat(np.asarray(values, np.float64), starts)


def _added(before: Sequence[float], steps: np.ndarray) -> list[float]:
    """``before`` (n,) and then ``steps`` (steps, n), one behind the other: so the same bits come
    out wherever a run is cut into parts."""
    if len(steps) > 1:
        return np.add.accumulate(np.concatenate([[before], steps]), axis=0)[-1].tolist()
    return (np.array(before) + steps[0]).tolist() if len(steps) else list(before)


def _sizes(part: Part, measured: Measured) -> np.ndarray:
    """How many images each step had, float64 (steps,)."""
    sizes = np.full(measured.steps, part.batch_size, np.float64)
    if measured.steps:
        done = min(measured.steps * part.batch_size, len(part.order))
        sizes[-1] = done - part.batch_size * (measured.steps - 1)
    return sizes


@dataclass(frozen=True)
class Totals:
    """Sums over the images so far: ``loss`` of all outputs and the regularizers, ``sums`` by the
    number of each output that has a loss."""

    sums: Mapping[int, Sums]
    loss: float = 0.0
    images: int = 0

    def after(
        self,
        part: Part,
        measured: Measured,
        measures: Mapping[int, Measure],
        penalty: float = 0.0,
    ) -> Totals:
        """The sums once ``measured``, of the steps of ``part`` that are done, is counted too;
        ``penalty`` is the regularizers' loss, where the measured does not hold it."""
        sizes = _sizes(part, measured)
        found = {
            output: measure.of_steps(output, part, measured, sizes)
            for output, measure in measures.items()
        }
        whole = (np.asarray(measured.penalty[: measured.steps]) + penalty) * sizes
        for output, steps in found.items():
            whole = whole + measures[output].weight * steps[:, 0]
        sums = {
            output: Sums(*_added(self.sums[output].values, steps))
            for output, steps in found.items()
        }
        (loss,) = _added([self.loss], whole[:, np.newaxis])
        return Totals(sums, loss, self.images + int(sizes.sum()))
