"""Programs beside a model's own, on which is tried how long its first batch takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmill.plan.halves import halves
from convmill.plan.rebuild import check_model
from convmill.plan.refusals import NotCovered
from convmill.train.bound import Bound
from convmill.train.prepare import Preparation, is_stream
from convmill.train.samples import Samples
from convmill.train.session import session
from convmill.train.state import settle
from convmill.whole import check_whole

if TYPE_CHECKING:
    from convmill.lower.passes import Chooser
    from convmill.runtime.program import Kind, Program


@dataclass(frozen=True)
class Trial:
    """A model that is bound, its weights, and the batch that is tried."""

    bound: Bound
    weights: tuple[np.ndarray, ...]
    samples: Samples

    @property
    def images(self) -> int:
        """How many images a run has."""
        return len(self.samples)

    @property
    def runs(self) -> Mapping[Kind, Callable[[Program], object]]:
        """What runs a Program on the batch, for each kind of run; nothing is trained by it."""
        from convmill.runtime.batches import Batches

        samples = self.samples
        order = np.arange(len(samples), dtype=np.int64)
        batches = Batches(samples.x, order, len(order), samples.y, samples.weight)
        return {
            "training": lambda program: program.train(batches, np.zeros(1)),
            "inference": lambda program: program.evaluate(batches),
        }

    def program(self, chooser: Chooser, timed: bool) -> Program:
        """A Program of the model, with the weights that it had; timed ones have one thread."""
        from convmill.runtime.program import Program

        bound, threads = self.bound, session(self.bound.model).threads
        threads = 1 if timed else threads
        program = Program(bound.graph, bound.recipe, threads=threads, chooser=chooser, timed=timed)
        program.set_parameters(self.weights)
        return program


def trial_of(model: Any, x: Any, y: Any, batch_size: int, what: str) -> Trial:
    """The trial of a compiled model on the first batch of ``x`` and ``y``; ``what`` wants it.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: ``compile`` was not called, ``x`` is a stream, ``batch_size`` is no positive
            whole number, or the data do not fit the model.
        NotCovered: the model is not compiled, Keras takes part in its steps, or it has a frozen
            base, whose programs are others.
    """
    check_model(model)
    size = check_whole("batch_size", batch_size, 1, 2**31)
    if getattr(model, "optimizer", None) is None:
        raise ValueError(f"{what}: the model must be compiled first: model.compile(...)")
    settle(model)
    if is_stream(x):
        raise ValueError(
            f"x must be arrays, as of a first batch: next(iter(x)). Received: {type(x).__name__}"
        )
    ready = Preparation(model, {"x": x, "y": y})
    ready.arrays(x, y, None, size, None)
    bound = ready.bind()
    if bound.recipe is None or bound.recipe.bridged or bound.bridged:
        raise NotCovered(
            "Keras computes a part of each step",
            f"{what} it with a loss and an optimizer of Keras'",
        )
    if halves(bound.graph) is not None:
        raise NotCovered(
            "what its frozen base computes is computed once a fit, in programs of its own",
            f"{what} it while nothing is frozen",
        )
    samples = ready.samples(ready.take(x, y, None).part(0, size))
    bound.pull_weights()
    return Trial(bound, tuple(map(np.asarray, bound.weights)), samples)
