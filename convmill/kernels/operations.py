"""The table of operations, and of all kernels by name."""

from __future__ import annotations

from convmill.kernels import (
    activation,
    added_loss,
    augment,
    batch_normalization,
    bridge,
    concatenate,
    constraints,
    convolution,
    copies,
    dense,
    depthwise,
    draw,
    dropout,
    erase,
    images,
    lookup,
    measure,
    merge,
    moves,
    normalize,
    penalize,
    pooling,
    prelu,
    random_crop,
    reduce,
    resample,
    rescale,
    slices,
    sums,
    transposed,
    update,
    weight,
)
from convmill.kernels.operation import Operation, Write
from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DenseStage,
    DepthwiseStage,
    PlainStage,
    Stage,
    TransposedStage,
)
from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.operations import (
    Activate,
    AdaptivePooling,
    AddedLoss,
    Affine,
    Concatenate,
    Lookup,
    Merge,
    Normalize,
    Penalize,
    Pooling,
    Prelu,
    Reduce,
    Rescale,
    Weight,
)
from convmill.plan.graph.random import AUGMENTATIONS, Draw, Dropout, Erase, Noise, RandomCrop

# By the class of the stage, or of a plain stage's operation.
OPERATIONS: dict[type, Operation] = {
    ConvolutionStage: convolution.OPERATION,
    DepthwiseStage: depthwise.OPERATION,
    TransposedStage: transposed.OPERATION,
    DenseStage: dense.OPERATION,
    BatchNormalizationStage: batch_normalization.OPERATION,
    Activate: activation.OPERATION,
    Concatenate: concatenate.OPERATION,
    Draw: draw.OPERATION,
    Dropout: dropout.OPERATION,
    Merge: merge.OPERATION,
    Noise: dropout.OPERATION,
    RandomCrop: random_crop.OPERATION,
    Erase: erase.OPERATION,
    **dict.fromkeys(AUGMENTATIONS, augment.OPERATION),
    Normalize: normalize.OPERATION,
    Prelu: prelu.OPERATION,
    Penalize: penalize.OPERATION,
    AddedLoss: added_loss.OPERATION,
    Pooling: pooling.OPERATION,
    AdaptivePooling: resample.OPERATION,
    Reduce: reduce.OPERATION,
    Rescale: rescale.OPERATION,
    Affine: rescale.OPERATION,
    **dict.fromkeys((Pad, Crop, Flatten, Reshape, Move), moves.OPERATION),
    Resample: resample.OPERATION,
    Weight: weight.OPERATION,
    Lookup: lookup.OPERATION,
}

KERNELS: dict[str, Write] = {
    **images.KERNELS,
    **measure.KERNELS,
    **bridge.KERNELS,
    **update.KERNELS,
    **constraints.KERNELS,
    **copies.KERNELS,
    **sums.KERNELS,
    **slices.KERNELS,
}
for _operation in OPERATIONS.values():
    KERNELS.update(_operation.kernels)


def operation_of(stage: Stage) -> Operation:
    """The operation of a stage; KeyError where no kernel computes it."""
    if not isinstance(stage, PlainStage):
        return OPERATIONS[type(stage)]
    if isinstance(stage.operation, Upsample):  # nearest: values are copied, and nothing computed
        nearest = stage.operation.interpolation == "nearest"
        return moves.OPERATION if nearest else resample.OPERATION
    return OPERATIONS[type(stage.operation)]
