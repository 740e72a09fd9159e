"""How max pooling thins out the training of what lies before it.

A window hands its gradient to its largest value alone, and what no window reads has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.design.steps import Design, Step
from convmill.lower.passes import Lowered
from convmill.lower.stages import ConvolutionStage, DepthwiseStage, TransposedStage
from convmill.plan.graph.shapes import Pair
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


def sparsity(design: Design, lowered: Lowered) -> dict[str, Sparsity]:
    """What pooling leaves, by name, of convolutions and of activations computed with them; other
    steps are dense, and so are depthwise and transposed convolutions, whose kernels go over all
    places. ``lowered`` are the stages of the design's graph."""
    found: dict[str, Sparsity] = {}
    kinds = (DepthwiseStage, TransposedStage)
    dense = {stage.nodes[0] for stage in lowered.stages if isinstance(stage, kinds)}
    for stage in lowered.stages:
        first, *others = (design.steps[number] for number in stage.nodes)
        if isinstance(stage, ConvolutionStage) and stage.pooled:
            *between, pooling = others
            for step in (first, *between):
                found[step.name] = _of(first, pooling, stage.pool, fused=True)
        elif first.kind == "convolution" and stage.nodes[0] not in dense:
            behind = _pooling_behind(design, first)
            if behind is not None:
                found[first.name] = _of(first, behind, (1, 1), fused=False)
    return found


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


def _of(convolution: Step, pooling: Step, window: Pair, *, fused: bool) -> Sparsity:
    places, windows = math.prod(convolution.shape[:-1]), math.prod(pooling.shape[:-1])
    computed = windows * math.prod(window) / places if fused else 1.0
    return Sparsity(computed, windows / places, window)
