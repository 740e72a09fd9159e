"""How a stage is computed: algorithms and tiles, as data. ``choose.py`` decides, once.

Kernels, slots, costs and reports read these; nothing else decides an algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.plan.graph.shapes import Pair


@dataclass(frozen=True)
class Direct:
    """Forward convolution, tap by tap, ``unroll`` of them behind one another. Register tile:
    ``rows`` x ``windows`` pooling windows of outputs (single places where nothing is pooled), times
    ``vectors`` of filters. Where filters are few, one vector holds each of them beside itself for
    ``taps`` neighbouring taps, whose sums are added at the end.
    """

    rows: int
    windows: int
    vectors: int
    unroll: int
    taps: int = 1


@dataclass(frozen=True)
class Filtering:
    """Winograd's minimal filtering F(m x m, r x r): ``outputs`` is m, ``kernel`` r."""

    outputs: int
    kernel: int

    @property
    def side(self) -> int:
        """Inputs that a tile reads along an axis."""
        return self.outputs + self.kernel - 1

    @property
    def points(self) -> int:
        """Products for each tile, channel and filter."""
        return self.side**2

    def __str__(self) -> str:
        return f"Winograd {self.outputs}x{self.outputs}"


@dataclass(frozen=True)
class Winograd:
    """A convolution by minimal ``filtering`` on ``grid`` tiles (rows, columns) of an image: so many
    ``images``, or ``rows`` of tiles of one, are transformed at a time; in the products ``tiles`` x
    ``vectors`` of filters stay in registers. For the gradient of the input filters and channels
    change places.
    """

    filtering: Filtering
    grid: Pair
    images: int
    rows: int
    tiles: int
    vectors: int

    @property
    def most(self) -> int:
        """Tiles that are transformed at a time, as many as there is room for: what a last block of
        ``tiles`` has too much is computed with the others, and nobody looks at it."""
        together = self.images * self.rows * self.grid[1]
        return together if self.images == 1 else -(-together // self.tiles) * self.tiles


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
class Placed:
    """Gradient of the input place by place, by the filters that are live there. Part of a window
    stays in registers: ``rows`` of the kernel times ``vectors`` along (kernel width x channels in).
    """

    rows: int
    vectors: int


@dataclass(frozen=True)
class Narrow:
    """Weight gradient over all places, filters in the lanes, each beside itself for ``taps``
    neighbouring taps where filters are few; so many vectors of ``sums`` stay in registers."""

    sums: int
    taps: int = 1


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
    """Weight gradient by minimal ``filtering`` with outputs and weights in each other's place, on
    ``grid`` tiles (rows, columns) of each image. The sums of so many ``filters`` stay in the second
    cache while ``images`` go by; ``rows`` of tiles of images ``together`` are transformed at a
    time, and of their products ``filters_at_once`` x ``vectors`` of channels stay in registers."""

    filtering: Filtering
    grid: Pair
    filters: int
    images: int
    together: int
    rows: int
    filters_at_once: int
    vectors: int

    @property
    def tiles(self) -> int:
        """The most that are transformed at a time."""
        return self.together * self.rows * self.grid[1]


@dataclass(frozen=True)
class ConvolutionChoice:
    """Algorithms of a convolution; None where a gradient is not wanted."""

    forward: Direct | Winograd
    input_gradient: Live | Placed | Gathered | Winograd | None = None
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
