"""What is computed: fused stages. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field

from convmill.lower.choices import (
    ConvolutionChoice,
    DenseChoice,
    DepthwiseChoice,
    TransposedChoice,
)
from convmill.lower.tensors import ALIGNMENT, Halo, Tensor
from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.operations import Operation
from convmill.plan.graph.shapes import Pair


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

    def groups_of_taps(self, taps: int) -> int:
        """Groups of so many taps in a run; where some are left the last overlaps the one before."""
        return -(-self.run_length // taps)

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
