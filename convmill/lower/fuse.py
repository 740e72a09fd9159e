"""Passes that bring stages together, or take them apart.

    fuse_activation     [conv linear] -> [activation f]     =>  [conv f]
                        [add] -> [activation f]             =>  [add f]
    fold_normalization  [conv linear] -> [normalization f]  =>  [conv, scaled and shifted, f]
    split_activation    [conv softmax]                      =>  [conv linear] -> [softmax]
    fuse_pooling        [conv] -> [max pooling]             =>  [conv with pooling]

Dense layers as convolutions. A stage is taken into the one before only where it is the sole reader
of what that one writes, and the net does not hand that out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DepthwiseStage,
    PlainStage,
    Stage,
    WeightedStage,
)
from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.operations import Activate, Merge, Pooling

Together = Callable[[Stage, Stage], Stage | None]
# Computed with the layer before them, as far as ``can_fuse_activation`` says.
FUSABLE = {"linear", "relu", "leaky_relu", "sigmoid", "tanh", "elu"}
LARGEST_WINDOW = 9  # places whose values stay in registers until the maximum is taken


def fuse_activation(stages: Sequence[Stage], handed_out: Container[int]) -> list[Stage]:
    """An activation that kernels fuse goes into the convolution, dense layer or merge it reads."""

    def merge(before: Stage, stage: Stage) -> Stage | None:
        if not (
            isinstance(stage, PlainStage)
            and isinstance(stage.operation, Activate)
            and (isinstance(before, (WeightedStage, BatchNormalizationStage)) or _merges(before))
            and before.activation == LINEAR
            and can_fuse_activation(stage.operation.activation)
        ):
            return None
        return replace(
            before,
            activation=stage.operation.activation,
            output=stage.output,
            nodes=(*before.nodes, *stage.nodes),
        )

    return _merged(stages, handed_out, merge)


def _merges(stage: Stage) -> bool:
    return isinstance(stage, PlainStage) and isinstance(stage.operation, Merge)


def fold_normalization(stages: Sequence[Stage], handed_out: Container[int]) -> list[Stage]:
    """In inference, batch normalization goes into the convolution that it reads: its scale and
    shift are known before the first image."""

    def merge(before: Stage, stage: Stage) -> Stage | None:
        if not (
            isinstance(stage, BatchNormalizationStage)
            and isinstance(before, (ConvolutionStage, DepthwiseStage))
            and before.activation == LINEAR
            and before.folded is None
            and not (isinstance(before, ConvolutionStage) and before.pooled)
            and not (isinstance(before, DepthwiseStage) and before.multiplier > 1)
        ):
            return None
        return replace(
            before,
            folded=stage.moments,
            activation=stage.activation,
            output=stage.output,
            nodes=(*before.nodes, *stage.nodes),
        )

    return _merged(stages, handed_out, merge)


def split_activation(stages: Sequence[Stage]) -> list[Stage]:
    """An activation that no kernel fuses becomes a stage of its own: its derivative needs more than
    the output."""
    split: list[Stage] = []
    fresh = 1 + max((stage.output.buffer for stage in stages), default=0)
    for stage in stages:
        if isinstance(stage, WeightedStage) and not can_fuse_activation(stage.activation):
            middle = replace(stage.output, buffer=fresh)
            fresh += 1
            split.append(replace(stage, activation=LINEAR, output=middle))
            apart = Activate(stage.activation)
            split.append(PlainStage(stage.nodes[:1], (middle,), stage.output, apart, part=1))
        else:
            split.append(stage)
    return split


def fuse_pooling(stages: Sequence[Stage], handed_out: Container[int]) -> list[Stage]:
    """Max pooling without overlap goes into the convolution before it: the backward pass turns
    sparse, and the map itself is never written."""

    def merge(before: Stage, stage: Stage) -> Stage | None:
        if not (
            isinstance(before, ConvolutionStage)
            and not before.pooled
            and can_fuse_activation(before.activation)
            and isinstance(stage, PlainStage)
            and isinstance(stage.operation, Pooling)
            and can_fuse_pooling(stage.operation)
        ):
            return None
        return replace(
            before,
            pool=stage.operation.pool_size,
            output=stage.output,
            nodes=(*before.nodes, *stage.nodes),
        )

    return _merged(stages, handed_out, merge)


def can_fuse_activation(activation: Activation) -> bool:
    """Whether the derivative follows from the output alone. With a slope below zero values on both
    sides of zero have the same output; with a threshold the output tells no side of it."""
    return activation.name in FUSABLE and activation.slope >= 0 and not activation.constants


def can_fuse_pooling(pooling: Pooling) -> bool:
    """Whether pooling takes the maximum of whole windows that do not overlap, small enough for the
    registers."""
    return (
        pooling.kind == "max"
        and pooling.ties == "first"
        and pooling.strides == pooling.pool_size
        and not any(pooling.padding)
        and 1 < math.prod(pooling.pool_size) <= LARGEST_WINDOW
    )


def _merged(stages: Sequence[Stage], handed_out: Container[int], merge: Together) -> list[Stage]:
    """``stages``, each merged into the writer of its input where it is the sole reader of that and
    ``merge`` agrees."""
    readers: dict[int, int] = {}
    for stage in stages:
        for tensor in stage.inputs:
            readers[tensor.buffer] = readers.get(tensor.buffer, 0) + 1
    kept: list[Stage] = []
    writer: dict[int, int] = {}
    for stage in stages:
        buffer = stage.inputs[0].buffer if stage.inputs else -1
        before = writer.get(buffer)
        together = None
        if before is not None and readers[buffer] == 1 and buffer not in handed_out:
            together = merge(kept[before], stage)
        if before is not None and together is not None:
            kept[before] = together
            writer[stage.output.buffer] = before
        else:
            writer[stage.output.buffer] = len(kept)
            kept.append(stage)
    return kept
