"""What a call goes by: the model read, kept on the model while nothing of it has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from convmill.plan.graph.shapes import Sizes
from convmill.plan.halves import Half, halves
from convmill.plan.read import Reading, read
from convmill.plan.recipe import Recipe
from convmill.plan.refusals import NotCovered
from convmill.train.attach.compiled import asked_losses, compilation
from convmill.train.bridge import KerasLoss
from convmill.train.changes import Unchanged
from convmill.train.compilation.read_recipe import read_training
from convmill.train.kept import kept
from convmill.train.keras_steps import KerasSteps

# On the model itself: anywhere else it would keep the model alive, for it leads back to it.
_PLACE = "_convmill_reading"
_MOST = 16  # readings of one model that are kept for training, and for inference
# What ``compile`` sets says nothing of inference; where that is called, other objects are there.
_OF_COMPILE = ("optimizer", "loss", "_compile_loss", "_compile_metrics", "_loss_tracker")


@dataclass(frozen=True)
class ModelReading:
    """A model's graph and variables; for training also its recipe and optimizer, and the losses
    that Keras computes, by the numbers of their outputs."""

    reading: Reading
    recipe: Recipe | None = None
    optimizer: Any = None
    losses: Mapping[int, KerasLoss] = field(default_factory=dict)
    jit: bool = True
    repeats: dict[Any, Any] = field(default_factory=dict)  # what calls have prepared for others

    @cached_property
    def keras_steps(self) -> KerasSteps:
        """The steps of a bridged optimizer; what JAX compiles of them is kept with the reading."""
        trained = [
            (parameter, variable)
            for parameter, variable in zip(
                self.reading.graph.parameters, self.reading.variables, strict=True
            )
            if parameter.trainable
        ]
        left = [None if known.regularizer else one.regularizer for known, one in trained]
        return KerasSteps(self.optimizer, [one for _, one in trained], left, self.jit)


class _Kept:
    """Readings for training (True) and for inference (False), by the sizes of images, or why there
    are none, and the state that they are of. Keras saves nothing of it."""

    def __init__(self) -> None:
        self.last: dict[bool, tuple[Unchanged, dict[Sizes | None, ModelReading | NotCovered]]] = {}


def last_readings(model: Any, training: bool, sizes: Sizes) -> list[ModelReading]:
    """How a model was read last, if nothing of it has changed since, and it was covered: for images
    of the sizes that it takes, and of these where it takes several."""
    kept = vars(model).get(_PLACE)
    if kept is None or training not in kept.last:
        return []
    unchanged, before = kept.last[training]
    every = (before.get(None), before.get(sizes))
    found = [one for one in every if isinstance(one, ModelReading)]
    return found if found and unchanged.holds() else []


def read_model(model: Any, training: bool, sizes: Sizes | None = None) -> ModelReading:
    """Reads a model, if it may have changed since it was read last; for images of ``sizes``, where
    it takes several. Raises NotCovered."""
    kept: _Kept = vars(model).setdefault(_PLACE, _Kept())
    last = kept.last.get(training)
    if last is None or not last[0].holds():
        # Before it is read: what changes then is seen.
        last = kept.last[training] = Unchanged(model, () if training else _OF_COMPILE), {}
    before = last[1]
    if sizes not in before:
        if len(before) >= _MOST:
            before.clear()
        try:
            before[sizes] = _read(model, training, sizes)
        except NotCovered as gap:
            before[sizes] = gap
    found = before[sizes]
    if isinstance(found, NotCovered):
        raise found.with_traceback(None)
    return found


def half_of(reading: Reading, half: Half) -> Reading:
    """What one half of a model computes, of one that has a frozen base."""
    if half == "whole":
        return reading
    both = halves(reading.graph)
    assert both is not None, "the model has no frozen base"
    graph, held = both.head, both.head_parameters
    if half == "base":
        graph, held = both.base, both.base_parameters
    variables = tuple(reading.variables[number] for number in held)
    dropouts = reading.dropouts if half == "head" else ()  # all that draws is the head's
    return replace(reading, graph=graph, variables=variables, dropouts=dropouts)


def _read(model: Any, training: bool, sizes: Sizes | None) -> ModelReading:
    if not training:
        return ModelReading(read(model, sizes))
    reading, recipe = read_training(model, sizes)
    # Keras traces a loss anew where a model is compiled anew, not before.
    compiled = compilation(model)[1]
    losses = {
        asked.output: kept(
            model,
            f"loss {asked.output}",
            compiled,
            partial(KerasLoss, model, asked.given, asked.output),
        )
        for asked in asked_losses(model, reading.outputs)
        if asked.output in recipe.bridged
    }
    return ModelReading(reading, recipe, model.optimizer, losses, bool(model.jit_compile))
