"""The logs: loss and metrics over the images so far, weighed as Keras weighs them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.train import attach
from convmill.train.bound import Bound
from convmill.train.compilation.accuracy import accuracy_kind
from convmill.train.feed import Part
from convmill.train.loaded import Snapshot, snapshot
from convmill.train.samples import Samples
from convmill.train.session import session
from convmill.train.turns import Turn

if TYPE_CHECKING:
    from convmill.runtime.program import Measured


@dataclass(frozen=True)
class Totals:
    """Sums over the images so far. ``loss`` weighs each batch's loss by its number of images."""

    loss: float = 0.0
    images: int = 0
    correct: float = 0.0
    weighted_correct: float = 0.0
    weight: float = 0.0

    def after(
        self, part: Part, measured: Measured, mean: bool, places: int, penalty: float = 0.0
    ) -> Totals:
        """The sums once ``measured``, of the steps of ``part`` that are done, is counted too.

        Args:
            mean: whether a batch's loss is the mean over its images' places, not their sum.
            places: how many an image has.
            penalty: the regularizers' loss, where the measured does not hold it.
        """
        done = min(measured.steps * part.batch_size, len(part.order))
        sizes = np.full(measured.steps, part.batch_size, np.float64)
        if measured.steps:
            sizes[-1] = done - part.batch_size * (measured.steps - 1)
        starts = np.arange(measured.steps) * part.batch_size
        losses = np.asarray(measured.loss[:done], np.float64)
        batches = np.add.reduceat(losses, starts) if measured.steps else np.zeros(0)
        batches = batches / places if mean else batches * sizes
        penalties = (np.asarray(measured.penalty[: measured.steps]) + penalty) * sizes
        correct = np.asarray(measured.correct[:done], np.float64)
        weight = part.samples.weight
        weights: Any = 1.0  # of images; those of places count nothing here
        if weight is not None:
            weights = weight[part.order[:done]].astype(np.float64)
            weights = weights.mean(axis=tuple(range(1, weights.ndim)))
        return Totals(
            self.loss + float(batches.sum() + penalties.sum()),
            self.images + done,
            self.correct + float(correct.sum()),
            self.weighted_correct + float((correct * weights).sum()),
            self.weight + (float(done) if weight is None else float(np.sum(weights))),
        )


class Counted:
    """What one call's metrics have counted, while another call of the same model counts."""

    def __init__(self) -> None:
        self.values: list[tuple[Any, Snapshot]] = []  # variables of Keras, and what they held


class Scores:
    """Keras' loss tracker and metrics of one model, kept up to date from a Program's records.

    Keras' metrics are the model's, and several calls may count at once (another thread's, one in
    a callback): whoever counts puts his own figures into them first.
    """

    def __init__(self, bound: Bound) -> None:
        self.bound, self.model = bound, bound.model
        self.totals = Totals()
        self.trained = 0  # batches of this call
        self._shown: dict[str, Any] = {}
        self._counted = Counted()
        self.follow()

    def follow(self) -> None:
        """Takes up what the model is compiled with now; what was counted so far is forgotten."""
        self._compilation = attach.compilation(self.model)
        self.totals = Totals()
        recipe = self.bound.recipe
        assert recipe is not None
        self.places = math.prod(self.bound.graph.output_shape[:-1])
        self.mean = recipe.loss.reduction == "mean"
        # Metrics that a Program counts itself, and those that Keras must count.
        self.native: list[tuple[Any, bool]] = []
        self.others: list[tuple[Any, bool]] = []
        self._built = attach.training_built(self.model)
        if not self._built:  # Keras does not know yet what they are
            return
        for metric, weighted in attach.compiled_metrics(self.model):
            kind = accuracy_kind(metric, recipe.loss, self.bound.graph.output_shape)
            native = kind is not None and kind == recipe.accuracy
            native = native and not (weighted and self.places > 1)  # places may weigh differently
            (self.native if native else self.others).append((metric, weighted))

    def catch_up(self) -> None:
        """Reads the model anew where a callback has compiled it; what was counted is forgotten."""
        if self.is_stale:
            self.bound.reread()
            self.follow()

    @property
    def is_stale(self) -> bool:
        """Whether the model has been compiled anew."""
        return attach.compilation(self.model) != self._compilation

    def build(self, samples: Samples) -> None:
        """Builds on a batch the metrics of a model that was compiled in the midst of a run."""
        if not self._built:
            attach.build_training(self.model, (samples.x, samples.given, samples.given_weight))
            self.follow()

    @property
    def need_outputs(self) -> bool:
        """Whether a metric must see the predictions."""
        return bool(self.others)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Within, Keras' metrics hold what this call has counted, and nobody else counts."""
        with Turn(frozenset({id(attach.loss_tracker(self.model))})):
            current = session(self.model)
            before = current.counting
            if before is not self._counted:
                if before is not None:
                    metrics = attach.compiled_metrics(self.model)
                    held = [one for metric, _ in metrics for one in metric.variables]
                    before.values = [(one, snapshot(one)) for one in held]
                for variable, value in self._counted.values:
                    variable.assign(value)
                current.counting = self._counted
            yield

    def reset(self) -> None:
        """Begins anew, in Keras' metrics too."""
        with self._counting():
            self.model.reset_metrics()
        self.totals = Totals()

    def add(
        self, part: Part, measured: Measured, outputs: np.ndarray | None, penalty: float = 0.0
    ) -> None:
        """Counts a finished part; ``outputs`` are its predictions, (m, *output shape)."""
        self.totals = self.totals.after(part, measured, self.mean, self.places, penalty)
        if outputs is not None and self.others:
            with self._counting():
                for start in range(0, len(part.order), part.batch_size):
                    self._update_others(part, slice(start, start + part.batch_size), outputs)

    def _update_others(self, part: Part, places: slice, outputs: np.ndarray) -> None:
        samples, order = part.samples, part.order[places]
        assert samples.given is not None
        y = samples.given[order]
        weight = None if samples.given_weight is None else samples.given_weight[order]
        for metric, weighted in self.others:
            metric.update_state(y, outputs[places], sample_weight=weight if weighted else None)

    def logs(self) -> dict[str, Any]:
        """The logs so far, named and ordered as Keras does; Keras' metrics now hold the same.

        Where a callback has compiled the model anew since, they are the last ones before that.
        """
        if self._built and not self.is_stale:
            with self._counting():
                self.give_to_keras()
                results = self.model.get_metrics_result()
            self._shown = {name: _plain(results[name]) for name in sorted(results)}
        return dict(self._shown)

    def give_to_keras(self) -> None:
        """Writes what was counted into Keras' metrics."""
        totals = self.totals
        _assign(attach.loss_tracker(self.model), totals.loss, totals.images)
        for metric, weighted in self.native:
            if weighted:
                _assign(metric, totals.weighted_correct, totals.weight)
            else:
                _assign(metric, totals.correct, totals.images)

    def take_from_keras(self) -> None:
        """Goes on counting from what Keras' metrics hold."""
        loss, images = _counted(attach.loss_tracker(self.model))
        self.totals = Totals(loss, round(images))
        for metric, weighted in self.native:
            total, count = _counted(metric)
            if weighted:
                self.totals = replace(self.totals, weighted_correct=total, weight=count)
            else:
                self.totals = replace(self.totals, correct=total)

    def preview(self, part: Part, measured: Measured) -> tuple[int, Mapping[str, float]]:
        """Images done, and the figures to show while a part is running."""
        totals = self.totals.after(part, measured, self.mean, self.places)
        figures = {"loss": totals.loss / max(totals.images, 1)}
        if self.native:
            figures[self.native[0][0].name] = totals.correct / max(totals.images, 1)
        return totals.images, figures


def _assign(mean: Any, total: float, count: float) -> None:
    mean.total.assign(total)
    mean.count.assign(count)


def _counted(mean: Any) -> tuple[float, float]:
    """Total and count of a ``keras.metrics.Mean``."""
    return float(mean.total.numpy()), float(mean.count.numpy())


def _plain(value: Any) -> Any:
    """A number as a Python float; other results as they are."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
