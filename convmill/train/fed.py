"""Keras' metrics that are shown what a Program predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from convmill.train.attach.compiled import Compiled
from convmill.train.attach.gradients import has_bridge, stateless

Several = Sequence[Any]  # an array, or None, for each output
Batch = tuple[Several, Several, Several]  # labels, predictions, sample weights


class Fed:
    """Metrics of a model's outputs.

    Where Keras would have JAX compile their updates, so do we, once for batches of one kind: an
    update of one metric is dozens of operations. What cannot be traced is updated as it is.
    """

    def __init__(self, metrics: Sequence[Compiled], jit: bool) -> None:
        self.metrics = metrics
        self._variables = [one for each in metrics for one in each.metric.variables]
        self._traced: Callable[..., Sequence[Any]] | None = None
        if jit and has_bridge():
            self._traced = stateless(self._update, self._variables)

    def _update(self, y: Several, predictions: Several, weights: Several) -> None:
        for each in self.metrics:
            weight = weights[each.output] if each.weighted else None
            each.metric.update_state(y[each.output], predictions[each.output], sample_weight=weight)

    def update(self, batches: Iterable[Batch]) -> None:
        """Counts batches."""
        for batch in batches:
            found = None if self._traced is None else self._found(batch)
            if found is None:
                self._update(*batch)
                continue
            for variable, value in zip(self._variables, found, strict=True):
                variable.assign(value)

    def _found(self, batch: Batch) -> Sequence[Any] | None:
        """What the variables hold behind a batch; None where that cannot be traced."""
        assert self._traced is not None
        try:
            return self._traced([one.value for one in self._variables], *batch)
        except Exception:  # whatever it is, plain Python says it better
            self._traced = None
            return None
