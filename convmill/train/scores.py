"""The logs: loss and metrics over the images so far, weighed as Keras weighs them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.plan.recipe import Recipe
from convmill.train import late
from convmill.train.arrays import Interface
from convmill.train.attach.building import build_on, measures_built
from convmill.train.attach.compiled import (
    Compiled,
    compilation,
    compiled_metrics,
    loss_tracker,
    loss_trackers,
)
from convmill.train.bound import Bound
from convmill.train.compilation.accuracy import accuracy_kind
from convmill.train.fed import Batch, Fed
from convmill.train.feed import Part
from convmill.train.kept import kept
from convmill.train.loaded import Snapshot, copied
from convmill.train.pieces import Outputs
from convmill.train.samples import Samples
from convmill.train.session import session
from convmill.train.totals import Measure, Sums, Totals
from convmill.train.turns import Turn

if TYPE_CHECKING:
    from convmill.runtime.program import Measured


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
        self.trained = 0  # batches of this call
        self._shown: dict[str, Any] = {}
        self._counted = Counted()
        self.follow()

    def follow(self) -> None:
        """Takes up what the model is compiled with now; what was counted so far is forgotten."""
        self._compilation = compilation(self.model)
        recipe = self.bound.recipe
        assert recipe is not None
        self.fit_sizes()
        self.totals = self._nothing()
        # Metrics that a Program counts itself, and those that Keras must count.
        self.native: list[Compiled] = []
        self.others: list[Compiled] = []
        self._built = measures_built(self.model)
        for metric in self._metrics() if self._built else ():  # else Keras does not know them yet
            (self.native if self._is_native(metric, recipe) else self.others).append(metric)
        if self._built:
            jit, of = bool(self.model.jit_compile), self._compilation[2]
            self._fed = kept(self.model, "metrics", of, lambda: Fed(self.others, jit))

    def fit_sizes(self) -> None:
        """Takes up how many places the outputs have, for images of the sizes at hand."""
        recipe, self._graph = self.bound.recipe, self.bound.graph
        assert recipe is not None
        self.shapes = [self._graph.node(name).shape for name in self._graph.outputs]
        self.measures: dict[int, Measure] = {}
        for output in recipe.asked:
            goal = recipe.goals[output]
            assert goal is not None
            places = math.prod(self.shapes[output][:-1])
            self.measures[output] = Measure(places, goal.loss.reduction == "mean", goal.weight)

    def _nothing(self) -> Totals:
        return Totals(dict.fromkeys(self.measures, Sums()))

    def _metrics(self) -> list[Compiled]:
        return compiled_metrics(self.model, self.bound.reading.outputs)

    def _is_native(self, metric: Compiled, recipe: Recipe) -> bool:
        """Whether a Program counts a metric itself."""
        goal = recipe.goals[metric.output]
        if goal is None or goal.accuracy is None:
            return False
        if metric.weighted and self.measures[metric.output].places > 1:
            return False  # places may weigh differently
        return goal.accuracy == accuracy_kind(metric.metric, goal.loss, self.shapes[metric.output])

    def catch_up(self) -> None:
        """Reads the model anew where a callback has compiled it; what was counted is forgotten."""
        if self.is_stale:
            self.bound.reread()
            self.follow()

    @property
    def is_stale(self) -> bool:
        """Whether the model has been compiled anew."""
        return compilation(self.model) != self._compilation

    def build(self, samples: Samples) -> None:
        """Builds on a batch the metrics of a model that was compiled in the midst of a run; checks
        that all of them find what they read."""
        if self.bound.graph is not self._graph:
            self.fit_sizes()
        if not self._built:
            inputs, outputs = self.bound.reading.inputs, self.bound.reading.outputs
            build_on(self.model, Interface(inputs, outputs), samples.seen)
            self.follow()
        looked_at = (each.output for each in self.others)
        samples.seen.check_targets(looked_at, self.bound.reading.outputs)

    @property
    def need_outputs(self) -> bool:
        """Whether a metric must see the predictions."""
        return bool(self.others)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Within, Keras' metrics hold what this call has counted, and nobody else counts."""
        with Turn(frozenset({id(loss_tracker(self.model))})):
            current = session(self.model)
            before = current.counting
            if before is not self._counted:
                if before is not None:
                    held = [one for metric in self._metrics() for one in metric.metric.variables]
                    before.values = [(one, copied(one)) for one in held]
                for variable, value in self._counted.values:
                    variable.assign(value)
                current.counting = self._counted
            yield

    def reset(self) -> None:
        """Begins anew, in Keras' metrics too."""
        with self._counting():
            self.model.reset_metrics()
        self.totals = self._nothing()

    def state(self) -> dict[str, Any]:
        """What was counted so far, as plain values and arrays."""
        with self._counting():
            held = [one for each in self.others for one in each.metric.variables]
            values = list(map(copied, held))
        sums = {output: list(one.values) for output, one in self.totals.sums.items()}
        totals = {"sums": sums, "loss": self.totals.loss, "images": self.totals.images}
        return {"totals": totals, "metrics": values, "trained": self.trained}

    def restore(self, found: Mapping[str, Any]) -> None:
        """Goes on counting from what ``state`` gave."""
        with self._counting():
            self.model.reset_metrics()
            held = [one for each in self.others for one in each.metric.variables]
            for variable, value in zip(held, found["metrics"], strict=True):
                variable.assign(value)
        totals = found["totals"]
        sums = {output: Sums(*totals["sums"][output]) for output in self._nothing().sums}
        self.totals = Totals(sums, totals["loss"], totals["images"])
        self.trained = found["trained"]

    def add(
        self, part: Part, measured: Measured, outputs: Outputs | None, penalty: float = 0.0
    ) -> None:
        """Counts a finished part; ``outputs`` are its predictions."""
        self.totals = self.totals.after(part, measured, self.measures, penalty)
        if outputs is not None and self.others:
            with self._counting():
                self._fed.update(_batches(part, outputs))

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
        for _, mean, total, count in self._means(self.totals):
            mean.total.assign(total)
            mean.count.assign(count)

    def _means(self, totals: Totals) -> Iterator[tuple[str, Any, float, float]]:
        """The log, the ``keras.metrics.Mean``, the total and the count of all that is counted
        natively."""
        tracker = loss_tracker(self.model)
        yield tracker.name, tracker, totals.loss, totals.images
        for tracker, output in self._trackers():
            yield tracker.name, tracker, totals.sums[output].loss, totals.images
        for each in self.native:
            sums = totals.sums[each.output]
            if each.weighted:
                yield each.name, each.metric, sums.weighted_correct, sums.weight
            else:
                yield each.name, each.metric, sums.correct, totals.images

    def can_wait(self) -> bool:
        """Whether all of the model's metrics can wait for what is counted, so that nobody sees
        that: they are means, and counted natively."""
        means = [(name, mean) for name, mean, _, _ in self._means(self.totals)]
        held = [one for _, mean in means for one in (mean.total, mean.count)]
        every = [one for metric in self.model.metrics for one in metric.variables]
        return (
            late.can_wait(held)
            and {id(one) for one in held} == {id(one) for one in every}
            and all(one.dtype == "float32" for one in held)
            and sorted(name for name, _ in means) == sorted(self._shown)
        )

    def logs_of(self, part: Part, measured: Measured) -> dict[str, Any]:
        """``reset``, ``add`` and ``logs`` for one part alone; Keras' metrics wait for it. Several
        threads may call it at once."""
        means = list(self._means(self._nothing().after(part, measured, self.measures)))
        with self._counting():
            for _, mean, total, count in means:
                late.give(mean.total, total)
                late.give(mean.count, count)
        with np.errstate(all="ignore"):
            found = {name: _mean(total, count) for name, _, total, count in means}
        return {name: found[name] for name in sorted(found)}

    def _trackers(self) -> list[tuple[Any, int]]:
        return loss_trackers(self.model, self.bound.reading.outputs)

    def take_from_keras(self) -> None:
        """Goes on counting from what Keras' metrics hold."""
        loss, images = _counted(loss_tracker(self.model))
        sums = dict.fromkeys(self.measures, Sums())
        for tracker, output in self._trackers():
            sums[output] = replace(sums[output], loss=_counted(tracker)[0])
        for each in self.native:
            total, count = _counted(each.metric)
            if each.weighted:
                counted = replace(sums[each.output], weighted_correct=total, weight=count)
            else:
                counted = replace(sums[each.output], correct=total)
            sums[each.output] = counted
        self.totals = Totals(sums, loss, round(images))

    def preview(self, part: Part, measured: Measured) -> tuple[int, Mapping[str, float]]:
        """Images done, and the figures to show while a part is running."""
        totals = self.totals.after(part, measured, self.measures)
        images = max(totals.images, 1)
        figures = {"loss": totals.loss / images}
        first = {each.output: each.name for each in reversed(self.native)}  # of each output
        for output, name in sorted(first.items()):
            figures[name] = totals.sums[output].correct / images
        return totals.images, figures


def _batches(part: Part, outputs: Outputs) -> Iterator[Batch]:
    """Labels, predictions and weights of a part's batches, as the user passed them."""
    samples = part.samples
    assert samples.given is not None
    weights = samples.given_weight or (None,) * len(outputs)
    for start in range(0, len(part.order), part.batch_size):
        places = slice(start, start + part.batch_size)
        order = part.order[places]
        yield (
            tuple(None if y is None else y[order] for y in samples.given),
            tuple(one[places] for one in outputs),
            tuple(None if weight is None else weight[order] for weight in weights),
        )


def _mean(total: float, count: float) -> float:
    """The result of a ``keras.metrics.Mean``, which divides in float32."""
    return float(np.float32(total) / np.float32(count)) if count else 0.0


def _counted(mean: Any) -> tuple[float, float]:
    """Total and count of a ``keras.metrics.Mean``."""
    return float(mean.total.numpy()), float(mean.count.numpy())


def _plain(value: Any) -> Any:
    """A number as a Python float; other results as they are."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
