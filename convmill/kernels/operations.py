"""The table of operations, and of all kernels by name."""

from __future__ import annotations

from convmill.kernels import (
    activation,
    convolution,
    copies,
    dense,
    dropout,
    images,
    measure,
    pooling,
    rescale,
    update,
)
from convmill.kernels.operation import Operation, Write
from convmill.lower.stages import ConvolutionStage, DenseStage, Stage
from convmill.plan.graph import Activate, Dropout, Pooling, Rescale

# By the class of the stage, or of a plain stage's operation.
OPERATIONS: dict[type, Operation] = {
    ConvolutionStage: convolution.OPERATION,
    DenseStage: dense.OPERATION,
    Activate: activation.OPERATION,
    Dropout: dropout.OPERATION,
    Pooling: pooling.OPERATION,
    Rescale: rescale.OPERATION,
}

KERNELS: dict[str, Write] = {
    **images.KERNELS,
    **measure.KERNELS,
    **update.KERNELS,
    **copies.KERNELS,
}
for _operation in OPERATIONS.values():
    KERNELS.update(_operation.kernels)


def operation_of(stage: Stage) -> Operation:
    """The operation of a stage; KeyError where no kernel computes it."""
    if isinstance(stage, (ConvolutionStage, DenseStage)):
        return OPERATIONS[type(stage)]
    return OPERATIONS[type(stage.operation)]
