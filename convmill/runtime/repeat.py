"""Runs that are alike: what they are handed is made once, and serves again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.recipe import Optimizer
from convmill.runtime.batches import Batches, Measured, in_order, penalties_of
from convmill.runtime.factors import factors_of
from convmill.runtime.jit import Compiled
from convmill.runtime.memory import Context
from convmill.runtime.weights import Weights


class Prediction:
    """All outputs for as many images of the same dtypes as before, computed in the calling thread.

    A run takes some tens of microseconds, and most of them native code: its ``inputs``, ``outputs``
    and records are its own, so that no address changes. One thread at a time.
    """

    def __init__(
        self,
        code: Compiled,
        context: Context,
        weights: Weights,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
    ) -> None:
        self._code, self._context, self._weights = code, context, weights
        self._inputs, self._outputs = inputs, outputs
        self._address = context.address

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for arrays of the shapes and dtypes that it was made for."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own[...] = given
        context, weights = self._context, self._weights
        context.renew()
        context["prepared"] = int(weights.prepared == "inference")
        weights.prepared = None  # until the run has ended well
        self._code.entry(self._address, 0)
        weights.prepared = "inference"
        return [one.copy() for one in self._outputs]


class TrainingStep:
    """A step of training on as many images of the same dtypes as before, in the calling thread.

    First ``prepare``, then ``run``: in between nothing of the Program's state has changed.
    """

    def __init__(
        self,
        code: Compiled,
        context: Context,
        weights: Weights,
        own: Batches,
        graph: Graph,
        optimizer: Optimizer,
    ) -> None:
        self._code, self.context, self._weights = code, context, weights
        self._own, self._graph, self._optimizer = own, graph, optimizer
        self._arrays = {name: context.arrays[name] for name in context.arrays}
        self._address = context.address

    def prepare(self, batch: Batches, rate: float, iterations: int, seeds: np.ndarray) -> None:
        """Takes a batch of the shapes and dtypes that it was made for, in the order of its images;
        the rest is as ``Program.train`` takes it."""
        own, context, arrays = self._own, self.context, self._arrays
        both = ((own.x, batch.x), (own.y, batch.y), (own.sample_weight, batch.sample_weight))
        for mine, given in both:
            for one, other in zip(in_order(mine), in_order(given), strict=True):
                if one is not None:
                    one[...] = other
        arrays["hyper"][...] = factors_of(self._optimizer, np.array([rate]), iterations)
        arrays["seeds"][: len(seeds)] = seeds
        for name in ("losses", "correct", "activities", "penalties"):
            arrays[name][...] = 0
        context.renew()
        context["iterations"] = iterations

    def run(self) -> Measured:
        """The step, and what it measured."""
        context, weights, arrays = self.context, self._weights, self._arrays
        context["prepared"] = int(weights.prepared == "training")
        weights.prepared = None  # until the run has ended well
        self._code.entry(self._address, 0)
        weights.prepared = "training"
        penalty = arrays["penalties"].sum(axis=1, dtype=np.float64)
        penalty += penalties_of(arrays["activities"], self._own.batch_size, self._graph)
        return Measured(arrays["losses"].copy(), arrays["correct"].copy(), penalty, 1)
