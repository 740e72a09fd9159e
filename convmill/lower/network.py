"""A lowered graph: its stages, what is derived of each, its parameters as matrices. Pure data.

Nothing here knows a name that a user gave: nodes, tensors and parameters are numbers, so that equal
nets are equal data and share their native code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from convmill.lower.choices import Filtering
from convmill.lower.stages import BatchNormalizationStage, Stage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.parameters import Constraint, Regularizer
from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Recipe

COPIES = ("pack", "transform", "turned")


@dataclass(frozen=True)
class Copy:
    """Another layout of a kernel, of which vectors of rows are read: ``size`` float32 elements from
    ``start`` on, each column ``column`` behind the one before, each vector of rows ``vector``. Of
    Winograd's transforms, whose columns are channels, there is one for each point of ``filtering``,
    ``point`` apart."""

    start: int
    size: int
    column: int
    vector: int
    filtering: Filtering | None = None
    point: int = 0


@dataclass(frozen=True)
class Matrix:
    """A parameter as the kernels hold it: ``rows`` x ``columns`` float32 without gaps.

    ``shape`` is Keras'; ``axes`` is the order in which the kernels hold Keras' axes: convolution
    kernels with their filters first, (filters, kernel height x width x channels in), those of
    depthwise ones as (1, kernel height x width x filters of a channel x channels). Dense kernels
    are (inputs, units), biases (1, units). ``offset`` counts elements from the start of all
    parameters. ``pack`` is its transposed copy, ``transform`` Winograd's transform where the
    forward pass reads that, and ``turned`` that of the kernel turned around, of which channels in
    are the rows and filters the columns, where the gradient of the input does.
    """

    index: int
    shape: Shape
    axes: tuple[int, ...]
    offset: int
    rows: int
    columns: int
    trainable: bool
    regularizer: Regularizer | None
    decays: bool
    constraint: Constraint | None = None
    pack: Copy | None = None
    transform: Copy | None = None
    turned: Copy | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.rows * self.columns

    def copy(self, kind: str) -> Copy:
        """One of ``COPIES``."""
        found = {"pack": self.pack, "transform": self.transform, "turned": self.turned}[kind]
        assert found is not None, f"parameter {self.index} has no {kind}"
        return found


@dataclass(frozen=True)
class Gradients:
    """Which gradients of a stage are wanted: of each of the inputs, and of its weights."""

    inputs: tuple[bool, ...] = ()
    weights: bool = False

    @property
    def input(self) -> bool:
        """Whether one of an input is."""
        return any(self.inputs)

    @property
    def output(self) -> bool:
        """Whether they need the gradient of what the stage writes."""
        return self.input or self.weights


@dataclass(frozen=True)
class Network:
    """A graph lowered: stages in order, what is derived of each, parameters as matrices, and the
    recipe for training. ``inputs`` are what images are gathered into, ``outputs`` what is
    predicted.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    gradients: tuple[Gradients, ...]
    matrices: tuple[Matrix, ...]
    recipe: Recipe | None
    parameter_elements: int
    pack_elements: int
    statistic_elements: int
    images_per_group: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is written for an image."""
        return tuple(dict.fromkeys((*self.inputs, *(stage.output for stage in self.stages))))

    def is_derived(self, tensor: Tensor) -> bool:
        """Whether the gradient of what a stage writes there is wanted."""
        return any(
            wanted.output and stage.output.buffer == tensor.buffer
            for stage, wanted in zip(self.stages, self.gradients, strict=True)
        )

    @cached_property
    def normalizations(self) -> tuple[BatchNormalizationStage, ...]:
        """The stages that normalize by the statistics of batches."""
        return tuple(one for one in self.stages if isinstance(one, BatchNormalizationStage))

    @cached_property
    def whole_batches(self) -> bool:
        """Whether images of a batch need one another in training: none is cut into parts. A loss
        that is computed outside sees them all."""
        return self.is_normalized or (self.recipe is not None and bool(self.recipe.bridged))

    @cached_property
    def is_normalized(self) -> bool:
        """Whether images are normalized by the statistics of their batch in training."""
        return any(not stage.frozen for stage in self.normalizations)

    @property
    def written(self) -> frozenset[int]:
        """The parameters that a step of training changes."""
        moving = (
            index
            for stage in self.normalizations
            if not stage.frozen
            for index in (stage.moments.mean, stage.moments.variance)
        )
        moved = () if self.recipe and self.recipe.optimizer.bridged else self.trainable
        return frozenset((*moving, *(matrix.index for matrix in moved)))

    @property
    def trainable(self) -> tuple[Matrix, ...]:
        """Parameters that are trained."""
        return tuple(matrix for matrix in self.matrices if matrix.trainable)
