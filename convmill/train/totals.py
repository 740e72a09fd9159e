"""Losses and accuracies over the images so far, weighed as Keras weighs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Measure:
    """How an output's loss is counted: ``places`` are those of an image, ``mean`` whether a batch's
    loss is the mean over its images' places, not their sum, and ``weight`` what it weighs in the
    sum over all outputs."""

    places: int
    mean: bool
    weight: float

    def after(self, sums: Sums, output: int, part: Part, measured: Measured) -> Sums:
        """The sums once ``measured``, of the steps of ``part`` that are done, is counted too."""
        sizes = _sizes(part, measured)
        done = int(sizes.sum())
        starts = np.arange(measured.steps) * part.batch_size
        losses = np.asarray(measured.losses[output, :done], np.float64)
        batches = np.add.reduceat(losses, starts) if measured.steps else np.zeros(0)
        batches = batches / self.places if self.mean else batches * sizes
        correct = np.asarray(measured.rights[output, :done], np.float64)
        weight = None if part.samples.weight is None else part.samples.weight[output]
        weights: Any = 1.0  # of images; those of places count nothing here
        if weight is not None:
            weights = weight[part.order[:done]].astype(np.float64)
            weights = weights.mean(axis=tuple(range(1, weights.ndim)))
        return Sums(
            sums.loss + float(batches.sum()),
            sums.correct + float(correct.sum()),
            sums.weighted_correct + float((correct * weights).sum()),
            sums.weight + (float(done) if weight is None else float(np.sum(weights))),
        )


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
        penalties = (np.asarray(measured.penalty[: measured.steps]) + penalty) * sizes
        sums = {
            output: measure.after(self.sums[output], output, part, measured)
            for output, measure in measures.items()
        }
        gained = (
            measure.weight * (sums[output].loss - self.sums[output].loss)
            for output, measure in measures.items()
        )
        loss = self.loss + sum(gained) + float(penalties.sum())
        return Totals(sums, loss, self.images + int(sizes.sum()))
