"""The logs: loss and metrics over the images so far, weighed as Keras weighs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.train import attach
from convmill.train.bound import Bound
from convmill.train.feed import Part
from convmill.train.recipe import accuracy_kind

if TYPE_CHECKING:
    from convmill.runtime.program import Record


@dataclass(frozen=True)
class Totals:
    """Sums over the images so far. ``loss`` weighs each batch's loss by its number of images."""

    loss: float = 0.0
    images: int = 0
    correct: float = 0.0
    weighted_correct: float = 0.0
    weight: float = 0.0

    def after(self, part: Part, record: Record, mean: bool, penalty: float = 0.0) -> Totals:
        """The sums once ``record``, of the steps of ``part`` that are done, is counted too.

        Args:
            mean: whether a batch's loss is the mean over its images, not their sum.
            penalty: the regularizers' loss, where the record does not hold it.
        """
        done = min(record.steps * part.batch_size, len(part.order))
        sizes = np.full(record.steps, part.batch_size, np.float64)
        if record.steps:
            sizes[-1] = done - part.batch_size * (record.steps - 1)
        starts = np.arange(record.steps) * part.batch_size
        losses = np.asarray(record.loss[:done], np.float64)
        batches = np.add.reduceat(losses, starts) if record.steps else np.zeros(0)
        batches = batches if mean else batches * sizes
        penalties = (np.asarray(record.penalty[: record.steps]) + penalty) * sizes
        correct = np.asarray(record.correct[:done], np.float64)
        weight = part.samples.weight
        weights = 1.0 if weight is None else weight[part.order[:done]].astype(np.float64)
        return Totals(
            self.loss + float(batches.sum() + penalties.sum()),
            self.images + done,
            self.correct + float(correct.sum()),
            self.weighted_correct + float((correct * weights).sum()),
            self.weight + (float(done) if weight is None else float(np.sum(weights))),
        )


class Scores:
    """Keras' loss tracker and metrics of one model, kept up to date from a Program's records."""

    def __init__(self, bound: Bound) -> None:
        recipe = bound.recipe
        assert recipe is not None
        self.model = bound.model
        self.mean = recipe.loss.reduction == "mean"
        # Metrics that a Program counts itself, and those that Keras must count.
        self.native: list[tuple[Any, bool]] = []
        self.others: list[tuple[Any, bool]] = []
        for metric, weighted in attach.compiled_metrics(self.model):
            kind = accuracy_kind(metric, recipe.loss, bound.graph.output_shape)
            native = kind is not None and kind == recipe.accuracy
            (self.native if native else self.others).append((metric, weighted))
        self.totals = Totals()

    @property
    def need_outputs(self) -> bool:
        """Whether a metric must see the predictions."""
        return bool(self.others)

    def reset(self) -> None:
        """Begins anew, in Keras' metrics too."""
        self.model.reset_metrics()
        self.totals = Totals()

    def add(
        self, part: Part, record: Record, outputs: np.ndarray | None, penalty: float = 0.0
    ) -> None:
        """Counts a finished part; ``outputs`` are its predictions, (m, *output shape)."""
        self.totals = self.totals.after(part, record, self.mean, penalty)
        if outputs is not None:
            for start in range(0, len(part.order), part.batch_size):
                self._update_others(part, slice(start, start + part.batch_size), outputs)

    def _update_others(self, part: Part, places: slice, outputs: np.ndarray) -> None:
        samples, order = part.samples, part.order[places]
        assert samples.given is not None
        y = samples.given[order]
        weight = None if samples.weight is None else samples.weight[order]
        for metric, weighted in self.others:
            metric.update_state(y, outputs[places], sample_weight=weight if weighted else None)

    def logs(self) -> dict[str, Any]:
        """The logs so far, named and ordered as Keras does; Keras' metrics now hold the same."""
        totals = self.totals
        _assign(attach.loss_tracker(self.model), totals.loss, totals.images)
        for metric, weighted in self.native:
            if weighted:
                _assign(metric, totals.weighted_correct, totals.weight)
            else:
                _assign(metric, totals.correct, totals.images)
        results = self.model.get_metrics_result()
        return {name: _plain(results[name]) for name in sorted(results)}

    def preview(self, part: Part, record: Record) -> tuple[int, Mapping[str, float]]:
        """Images done, and the figures to show while a part is running."""
        totals = self.totals.after(part, record, self.mean)
        figures = {"loss": totals.loss / max(totals.images, 1)}
        if self.native:
            figures[self.native[0][0].name] = totals.correct / max(totals.images, 1)
        return totals.images, figures


def _assign(mean: Any, total: float, count: float) -> None:
    mean.total.assign(total)
    mean.count.assign(count)


def _plain(value: Any) -> Any:
    """A number as a Python float; other results as they are."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
