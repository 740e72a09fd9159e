"""How max pooling thins out the training of what lies before it.

A window hands its gradient to its largest value alone, and what no window reads has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.design.steps import Design, Step
from convmill.plan.algorithms import FUSABLE, is_fused_window
from convmill.plan.graph import Pair
from convmill.plan.reads import Windows


@dataclass(frozen=True)
class Sparsity:
    """What a max pooling leaves of the places of a step before it.

    ``computed`` is the share of places that are computed at all, ``live`` that of places which can
    have a gradient. ``window`` is that of the pooling computed together with the step, (1, 1) where
    none is: then the map itself is never written.
    """

    computed: float = 1.0
    live: float = 1.0
    window: Pair = (1, 1)

    @property
    def is_fused(self) -> bool:
        """Whether the step's map is never written."""
        return self.window != (1, 1)


DENSE = Sparsity()


def sparsity(design: Design) -> dict[str, Sparsity]:
    """What pooling leaves, by name, of convolutions and of activations computed with them; other
    steps are dense."""
    found: dict[str, Sparsity] = {}
    for step in design.steps:
        if step.kind == "convolution":
            together = _with_activations(design, step)
            reader = design.sole_reader(together[-1])
            fused = reader is not None and _is_fused(together[-1], reader)
            pooling = reader if fused else _pooling_behind(design, step)
            if pooling is not None:
                for each in together if fused else (step,):
                    found[each.name] = _of(step, pooling, fused)
    return found


def fused_activation(design: Design, step: Step) -> Step | None:
    """The activation layer that is computed with ``step`` and writes over what it wrote; None where
    there is none."""
    reader = design.sole_reader(step)
    fuses = reader and reader.kind == "activation" and reader.activation in FUSABLE
    return reader if fuses and step.activation == "linear" else None


def _with_activations(design: Design, convolution: Step) -> list[Step]:
    """The convolution and the activations that are computed with it."""
    steps = [convolution]
    while (activation := fused_activation(design, steps[-1])) is not None:
        steps.append(activation)
    return steps


def _is_fused(last: Step, pooling: Step) -> bool:
    windows = pooling.reads
    return (
        last.activation in FUSABLE
        and pooling.pool == "max"
        and isinstance(windows, Windows)
        and is_fused_window(windows.size, windows.strides, windows.padding)
    )


def _pooling_behind(design: Design, convolution: Step) -> Step | None:
    """The max pooling without overlap that alone reads the map, activations and dropout between
    them aside; None where there is none."""
    reader = design.sole_reader(convolution)
    while reader is not None and reader.kind in ("activation", "dropout"):
        reader = design.sole_reader(reader)
    if reader is None or reader.pool != "max" or not isinstance(reader.reads, Windows):
        return None
    windows = reader.reads
    apart = all(windows.strides[axis] >= windows.size[axis] for axis in (0, 1))
    return reader if apart and not any(windows.padding) else None


def _of(convolution: Step, pooling: Step, fused: bool) -> Sparsity:
    assert isinstance(pooling.reads, Windows)
    places, windows = math.prod(convolution.shape[:2]), math.prod(pooling.shape[:2])
    size = pooling.reads.size
    computed = windows * math.prod(size) / places if fused else 1.0
    return Sparsity(computed, windows / places, size if fused else (1, 1))
