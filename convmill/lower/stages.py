"""What is computed: tensors with a place for padding, fused stages, and parameters. Pure data.

Nothing here knows a name that a user gave: nodes, tensors and parameters are numbers, so that equal
nets are equal data and share their native code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from convmill.lower.choices import (
    ConvolutionChoice,
    DenseChoice,
    DepthwiseChoice,
    Filtering,
    TransposedChoice,
)
from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.operations import Operation
from convmill.plan.graph.parameters import Constraint, Regularizer
from convmill.plan.graph.shapes import Pair, Shape
from convmill.plan.recipe import Recipe

Halo = tuple[int, int, int, int]  # top, bottom, left, right
NO_HALO: Halo = (0, 0, 0, 0)
ALIGNMENT = 16  # float32 elements: one cache line


@dataclass(frozen=True)
class Tensor:
    """float32 values of one image, channels last, inside a border of zeros.

    ``halo`` is (top, bottom, left, right) in pixels: the padding that the reader wants, so that
    no kernel tests for edges. ``buffer`` numbers the memory; views share it. Where a buffer has
    several readers, ``use`` numbers them from 1: each leaves a gradient of its own, and the sum of
    all is that of use 0, which the writer goes by.
    """

    buffer: int
    height: int
    width: int
    channels: int
    halo: Halo = NO_HALO
    use: int = 0

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

    @property
    def places(self) -> int:
        """Pixels that count: height x width."""
        return self.height * self.width

    def padded(self, halo: Halo) -> Tensor:
        """The same tensor inside another border."""
        return replace(self, halo=halo)


@dataclass(frozen=True)
class Moments:
    """What normalizes each of ``channels``: ``gamma``, ``beta``, the moving ``mean`` and
    ``variance`` index the parameters. ``place`` is where what belongs to the channels begins, six
    rows of ``row`` elements each, among those of all stages."""

    channels: int
    gamma: int | None
    beta: int | None
    mean: int
    variance: int
    epsilon: float
    place: int = 0

    @property
    def parameters(self) -> tuple[int, ...]:
        """The parameters."""
        given = (self.gamma, self.beta, self.mean, self.variance)
        return tuple(index for index in given if index is not None)

    @property
    def row(self) -> int:
        """Elements from one row to the next."""
        return -(-self.channels // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class WeightedStage:
    """What multiplies its input with a kernel, adds a bias and applies an activation.

    ``nodes`` numbers the graph's nodes that are computed here, the one with the weights first;
    ``kernel`` and ``bias`` index the parameters; in inference a batch normalization behind it may
    be ``folded`` in. In training the same stage runs backward: it reads the gradient of its output
    and writes that of its input.
    """

    nodes: tuple[int, ...]
    input: Tensor
    output: Tensor
    kernel: int
    bias: int | None
    activation: Activation
    folded: Moments | None = field(default=None, kw_only=True)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the stage reads."""
        return (self.input,)

    @property
    def parameters(self) -> tuple[int, ...]:
        """Parameters that the stage reads."""
        own = (self.kernel,) if self.bias is None else (self.kernel, self.bias)
        return own if self.folded is None else (*own, *self.folded.parameters)


@dataclass(frozen=True)
class WindowedStage(WeightedStage):
    """What reads windows of its input.

    ``padding`` is its own; the border around what it reads may be wider, for another reader.
    """

    kernel_size: Pair
    strides: Pair
    padding: Halo
    dilation: Pair = (1, 1)

    @property
    def corner(self) -> int:
        """Elements from the start of the input's memory to the first window."""
        top, left = self.input.halo[0] - self.padding[0], self.input.halo[2] - self.padding[2]
        return top * self.input.row + left * self.input.channels

    @property
    def computed(self) -> Pair:
        """Rows and columns of windows."""
        return self.output.height, self.output.width


@dataclass(frozen=True)
class ConvolutionStage(WindowedStage):
    """A convolution and, where ``pool`` is set, max pooling without overlap behind it.

    Of ``groups`` of filters each reads its own part of the channels.
    """

    pool: Pair = (1, 1)
    groups: int = 1
    choice: ConvolutionChoice | None = None

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
        """Input values that one row of the kernel reads."""
        return self.kernel_size[1] * self.channels_read

    @property
    def channels_read(self) -> int:
        """Channels of the input that one filter reads."""
        return self.input.channels // self.groups

    @property
    def runs(self) -> int:
        """How many runs of neighbours the values of a window's row are."""
        together = self.dilation[1] == 1 and self.groups == 1
        return 1 if together else self.kernel_size[1]

    @property
    def run_length(self) -> int:
        """Values of a run."""
        return self.window_row // self.runs

    @property
    def run_step(self) -> int:
        """Elements of the input from one run of a row to the next."""
        return self.dilation[1] * self.input.channels

    @property
    def line_step(self) -> int:
        """Elements of the input from what one row of the kernel reads to what the next one does."""
        return self.dilation[0] * self.input.row

    def tap_offset(self, tap: int) -> int:
        """Elements from the start of a window of the first group to one of its taps."""
        line, column = divmod(tap, self.window_row)
        run, value = divmod(column, self.run_length)
        return line * self.line_step + run * self.run_step + value

    @property
    def places(self) -> int:
        """Output places of one filter, behind pooling."""
        return self.output.height * self.output.width

    @property
    def computed(self) -> Pair:
        """Rows and columns of places that are computed, before pooling."""
        return self.output.height * self.pool[0], self.output.width * self.pool[1]


@dataclass(frozen=True)
class DepthwiseStage(WindowedStage):
    """A convolution of each channel by itself."""

    choice: DepthwiseChoice | None = None

    @property
    def multiplier(self) -> int:
        """Filters of each channel."""
        return self.output.channels // self.input.channels

    @property
    def taps(self) -> int:
        """Weights of one filter."""
        return self.kernel_size[0] * self.kernel_size[1]


@dataclass(frozen=True)
class TransposedStage(WindowedStage):
    """A transposed convolution: place j of the input reaches the places ``j * stride + tap *
    dilation - cut`` of the output. ``padding`` is how far output places look beyond the input."""

    cut: Pair = (0, 0)
    choice: TransposedChoice | None = None

    @property
    def taps(self) -> int:
        """Places that one place of the input is spread over."""
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def spread(self) -> Pair:
        """Rows and columns of all that the input is spread over, and of the output inside."""
        read, written = (self.input.height, self.input.width), self.computed
        rows, columns = (
            max(
                (read[axis] - 1) * self.strides[axis]
                + (self.kernel_size[axis] - 1) * self.dilation[axis]
                + 1,
                self.cut[axis] + written[axis],
            )
            for axis in (0, 1)
        )
        return rows, columns


@dataclass(frozen=True)
class DenseStage(WeightedStage):
    """A matrix product."""

    choice: DenseChoice | None = None


@dataclass(frozen=True)
class BatchNormalizationStage:
    """Normalizes each channel by its mean and variance over the batch and all places, or by the
    moving ones where it is ``frozen``; then scales, shifts and applies an activation."""

    nodes: tuple[int, ...]
    input: Tensor
    output: Tensor
    moments: Moments
    momentum: float
    frozen: bool
    activation: Activation = LINEAR

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the stage reads."""
        return (self.input,)

    @property
    def parameters(self) -> tuple[int, ...]:
        """Parameters that the stage reads."""
        return self.moments.parameters


@dataclass(frozen=True)
class PlainStage:
    """Any other operation, as the graph has it: nothing is fused with it but the ``activation`` of
    a merge, and nothing is chosen.

    ``part`` is 1 for the activation that was split off a node whose own stage stands before.
    ``weights`` index the parameters of an operation that is described and not compiled.
    """

    nodes: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    output: Tensor
    operation: Operation
    part: int = 0
    weights: tuple[int, ...] = ()
    activation: Activation = LINEAR

    @property
    def input(self) -> Tensor:
        """What the stage reads first."""
        return self.inputs[0]

    @property
    def parameters(self) -> tuple[int, ...]:
        """Parameters that the stage reads."""
        return self.weights


Stage = (
    ConvolutionStage
    | DepthwiseStage
    | TransposedStage
    | DenseStage
    | BatchNormalizationStage
    | PlainStage
)


@dataclass(frozen=True)
class Matrix:
    """A parameter as the kernels hold it: ``rows`` x ``columns`` float32 without gaps.

    ``shape`` is Keras'; ``axes`` is the order in which the kernels hold Keras' axes: convolution
    kernels with their filters first, (filters, kernel height x width x channels in), those of
    depthwise ones as (1, kernel height x width x filters of a channel x channels). Dense kernels
    are (inputs, units), biases (1, units). ``offset`` counts elements from the start of all
    parameters. ``pack`` is the place of its transposed copy, columns x ``pack_row``, or None;
    ``winograd`` the place of Winograd's transform for ``filtering``, points x channels in x
    ``pack_row``, where the forward pass reads that; ``turned`` that of the kernel turned around,
    points x filters x ``turned_row``, for ``turned_filtering``, where the gradient of the input
    does.
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
    pack: int | None = None
    pack_row: int = 0
    winograd: int | None = None
    filtering: Filtering | None = None
    turned: int | None = None
    turned_row: int = 0
    turned_filtering: Filtering | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


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
        bridged = self.recipe is not None and bool(self.recipe.bridged)
        return bridged or any(not stage.frozen for stage in self.normalizations)

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
