"""What the kernels are emitted from: tensors with a place for padding, and fused stages. Pure data.

A stage reads one tensor and writes one. In training the same stage runs backward: it reads the
gradient of its output and writes that of its input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from convmill.plan.graph import Activation, Graph, Regularizer
from convmill.plan.recipe import Recipe


@dataclass(frozen=True)
class Tensor:
    """float32 values of one image, channels last, inside a border of zeros.

    ``halo`` is (top, bottom, left, right) in pixels: the padding that the reader wants, so that
    no kernel tests for edges. ``buffer`` names the memory; views share it.
    """

    buffer: str
    height: int
    width: int
    channels: int
    halo: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def row(self) -> int:
        """Elements from one row of pixels to the next."""
        return (self.halo[2] + self.width + self.halo[3]) * self.channels

    @property
    def size(self) -> int:
        """Elements in memory, the halo counted."""
        return (self.halo[0] + self.height + self.halo[1]) * self.row

    @property
    def origin(self) -> int:
        """Elements before the first pixel that is no halo."""
        return self.halo[0] * self.row + self.halo[2] * self.channels

    @property
    def values(self) -> int:
        """Values that count: height x width x channels."""
        return self.height * self.width * self.channels

    def padded(self, halo: tuple[int, int, int, int]) -> Tensor:
        """The same tensor inside another border."""
        return replace(self, halo=halo)


@dataclass(frozen=True)
class ConvolutionStage:
    """Convolution, bias, activation and, where ``pool`` is set, max pooling without overlap.

    Windows are ``pool`` large; ``fused`` names the nodes that were taken in.
    """

    name: str
    input: Tensor
    output: Tensor
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    kernel: int
    bias: int | None
    activation: Activation
    pool: tuple[int, int] = (1, 1)
    fused: tuple[str, ...] = ()

    @property
    def pooled(self) -> bool:
        """Whether max pooling is fused in."""
        return self.pool != (1, 1)

    @property
    def taps(self) -> int:
        """Weights of one filter."""
        return self.kernel_size[0] * self.window_row

    @property
    def window_row(self) -> int:
        """Neighbouring input values that one row of the kernel reads."""
        return self.kernel_size[1] * self.input.channels

    @property
    def places(self) -> int:
        """Output places of one filter."""
        return self.output.height * self.output.width


@dataclass(frozen=True)
class PoolingStage:
    """Max or average pooling over any windows, cut at the image's edges; ``shares_ties`` divides a
    maximum's gradient among all pixels that reach it."""

    name: str
    input: Tensor
    output: Tensor
    kind: Literal["max", "average"]
    pool_size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]  # top, left
    shares_ties: bool = False


@dataclass(frozen=True)
class DenseStage:
    """Matrix product, bias, activation; ``fused`` names the nodes that were taken in."""

    name: str
    input: Tensor
    output: Tensor
    kernel: int
    bias: int | None
    activation: Activation
    fused: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActivationStage:
    """An activation that could not be fused (softmax, gelu, or one behind pooling)."""

    name: str
    input: Tensor
    output: Tensor
    activation: Activation


@dataclass(frozen=True)
class DropoutStage:
    """Dropout in training, a copy otherwise."""

    name: str
    input: Tensor
    output: Tensor
    rate: float
    seed: int


@dataclass(frozen=True)
class RescaleStage:
    """``x * scale + offset``."""

    name: str
    input: Tensor
    output: Tensor
    scale: float
    offset: float


Stage = ConvolutionStage | PoolingStage | DenseStage | ActivationStage | DropoutStage | RescaleStage


@dataclass(frozen=True)
class Matrix:
    """A parameter as the kernels hold it: ``rows`` x ``columns`` float32 without gaps.

    Convolution kernels are (filters, kernel height x width x channels in), dense ones (inputs,
    units), biases (1, units). ``offset`` counts elements from the start of all parameters.
    ``pack`` is the place of its transposed copy, columns x ``pack_row``, or None; ``winograd`` the
    place of its transform, 16 x channels in x ``pack_row``, where the forward pass reads that.
    """

    index: int
    offset: int
    rows: int
    columns: int
    trainable: bool
    regularizer: Regularizer | None
    decays: bool
    pack: int | None = None
    pack_row: int = 0
    winograd: int | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Network:
    """A Graph lowered: stages in order, parameters as matrices, the recipe for training."""

    graph: Graph
    recipe: Recipe | None
    stages: tuple[Stage, ...]
    matrices: tuple[Matrix, ...]
    parameter_elements: int
    pack_elements: int

    @property
    def input(self) -> Tensor:
        """The tensor that images are gathered into."""
        return self.stages[0].input

    @property
    def output(self) -> Tensor:
        """The tensor that holds predictions."""
        return self.stages[-1].output

    @property
    def first_backward(self) -> int:
        """Index of the first stage with trainable weights; no gradient goes further back."""
        for index, stage in enumerate(self.stages):
            if isinstance(stage, (ConvolutionStage, DenseStage)) and self.trains(stage):
                return index
        return len(self.stages)

    def trains(self, stage: ConvolutionStage | DenseStage) -> bool:
        """Whether any weight of ``stage`` is trainable."""
        held = (stage.kernel, stage.bias)
        return any(index is not None and self.matrices[index].trainable for index in held)
