"""How a stage is computed: algorithms and tiles, as data. ``choose.py`` decides, once.

Kernels, slots, costs and reports read these; nothing else decides an algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.plan.graph import Pair


@dataclass(frozen=True)
class Direct:
    """Forward convolution, tap by tap. Register tile: ``rows`` x ``windows`` pooling windows of
    outputs (single places where nothing is pooled), times ``vectors`` of filters; ``unroll`` taps.
    """

    rows: int
    windows: int
    vectors: int
    unroll: int


@dataclass(frozen=True)
class Winograd:
    """A convolution by F(m x m, 3x3), ``outputs`` being m, on ``grid`` tiles (rows, columns):
    ``rows`` of tiles are transformed at a time; in the products ``tiles`` x ``vectors`` of filters
    stay in registers. For the gradient of the input filters and channels change places.
    """

    outputs: int
    grid: Pair
    rows: int
    tiles: int
    vectors: int

    @property
    def points(self) -> int:
        """Products for each tile, channel and filter."""
        return (self.outputs + 2) ** 2


@dataclass(frozen=True)
class Live:
    """Backward along lists of live places. Part of a filter stays in registers: ``rows`` of the
    kernel times ``vectors`` along (kernel width x channels in); for weight gradients the input of
    ``images`` stays in the first cache while the filters of a task go by.
    """

    rows: int
    vectors: int
    images: int


@dataclass(frozen=True)
class Narrow:
    """Weight gradient over all places, filters in the lanes: the sums of ``taps`` stay in
    registers."""

    taps: int


@dataclass(frozen=True)
class Gathered:
    """Gradient of the input over all places: each place of it gathers from those that read it. The
    sums of ``places`` x ``vectors`` of channels stay in registers."""

    places: int
    vectors: int


@dataclass(frozen=True)
class Outer:
    """Weight gradient over all places. The sums of ``filters`` x part of a window stay in
    registers: ``rows`` of the kernel times ``vectors`` along (kernel width x channels in); what is
    read of ``images`` stays in the second cache while filters and parts go by."""

    filters: int
    rows: int
    vectors: int
    images: int


@dataclass(frozen=True)
class WinogradWeights:
    """Weight gradient by F(3x3, m x m), ``outputs`` being m, on ``grid`` tiles (rows, columns) of
    each image. The sums of so many ``filters`` stay in the second cache while ``images`` go by;
    ``rows`` of tiles of images ``together`` are transformed at a time, and of their products
    ``filters_at_once`` x ``vectors`` of channels stay in registers."""

    outputs: int
    grid: Pair
    filters: int
    images: int
    together: int
    rows: int
    filters_at_once: int
    vectors: int

    @property
    def points(self) -> int:
        """Products for each tile, channel and filter."""
        return (self.outputs + 2) ** 2

    @property
    def tiles(self) -> int:
        """The most that are transformed at a time."""
        return self.together * self.rows * self.grid[1]


@dataclass(frozen=True)
class ConvolutionChoice:
    """Algorithms of a convolution; None where a gradient is not wanted."""

    forward: Direct | Winograd
    input_gradient: Live | Gathered | Winograd | None = None
    weight_gradient: Live | Narrow | Outer | WinogradWeights | None = None

    @property
    def lists(self) -> bool:
        """Whether lists of live places are made."""
        return isinstance(self.input_gradient, Live) or isinstance(self.weight_gradient, Live)


@dataclass(frozen=True)
class DepthwiseChoice:
    """Register tiles of a depthwise convolution: the sums of ``columns`` places of a row, of the
    output or of the input, and for the weight gradient ``sums`` of taps; None where it is not
    wanted."""

    columns: int
    sums: int | None = None


@dataclass(frozen=True)
class MatrixTile:
    """Register tile of a matrix product: ``rows`` (images, inputs, places, filters) times
    ``vectors``."""

    rows: int
    vectors: int


@dataclass(frozen=True)
class TransposedChoice:
    """Tiles of a transposed convolution's products, of places times vectors of filters (forward) or
    of channels, and of filters times vectors of channels; None where a gradient is not wanted."""

    forward: MatrixTile
    input_gradient: MatrixTile | None = None
    weight_gradient: MatrixTile | None = None


@dataclass(frozen=True)
class DenseChoice:
    """Tiles of a dense layer's products; None where a gradient is not wanted. Forward and for the
    input's gradient they go over groups of images; or, where there is a ``panel``, over all images
    of a batch for each share of their columns, by so many rows of weights at a time."""

    forward: MatrixTile
    input_gradient: MatrixTile | None = None
    weight_gradient: MatrixTile | None = None
    panel: int | None = None
