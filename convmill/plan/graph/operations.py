"""Operations: what a node of a Graph computes, each a type of its own.

``kernel``, ``bias`` and their like index ``Graph.parameters``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convmill.plan.graph.activations import LINEAR, Activation
from convmill.plan.graph.moves import Crop, Flatten, Move, Pad, Resample, Reshape, Upsample
from convmill.plan.graph.parameters import Regularizer
from convmill.plan.graph.random import (
    Draw,
    Dropout,
    Erase,
    Flip,
    Noise,
    RandomCrop,
    Tone,
    Warp,
)
from convmill.plan.graph.shapes import Border, Pair, Shape

PoolingKind = Literal["max", "average"]
MergeKind = Literal["add", "subtract", "multiply", "divide", "average", "maximum", "minimum"]
NormalizeKind = Literal["batch", "layer", "rms", "group", "unit", "fixed"]
Kind = Literal[
    "input",
    "convolution",
    "dense",
    "pooling",
    "activation",
    "normalization",
    "dropout",  # does something in training alone
    "merge",
    "shape",  # moves values and computes none: flatten, reshape, crop, zero padding, resampling
    "other",
]


@dataclass(frozen=True)
class Input:
    """The image that the net reads; one of whole numbers has no fractions to begin with."""

    dtype: str = "float32"


@dataclass(frozen=True)
class Weight:
    """A parameter as what operations of Keras compute with: the same for all images."""

    parameter: int


@dataclass(frozen=True)
class Lookup:
    """The rows of a table, a parameter of (``rows``, columns), that the values name."""

    table: int
    rows: int


@dataclass(frozen=True)
class Rescale:
    """``x * scale + offset``."""

    scale: float
    offset: float


@dataclass(frozen=True)
class Affine:
    """``(x - shift) * scale + offset`` by constants, as many along rows, columns and channels as
    ``sizes`` says: all of the image's or one."""

    sizes: Shape
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class Convolution:
    """2-D convolution (cross-correlation), plus bias where ``bias`` is set, plus activation.

    What has places along one axis is an image of height 1; its kernel's shape has no height.

    ``padding`` is (top, bottom, left, right) in zero pixels. The kernel's shape is (height, width,
    channels in / ``groups``, filters); where the convolution is ``depthwise``, which has as many
    groups as channels, (height, width, channels in, filters of each channel). A ``transposed`` one
    spreads each place over a window of the output: place j of the input reaches place
    ``j * stride - before + k * dilation`` of the output, ``before`` that of ``padding``; its
    kernel's shape is (height, width, filters, channels in).
    """

    filters: int
    kernel_size: Pair
    strides: Pair
    padding: Border
    activation: Activation
    kernel: int
    bias: int | None
    dilation: Pair = (1, 1)
    groups: int = 1
    depthwise: bool = False
    transposed: bool = False


@dataclass(frozen=True)
class Separable:
    """A depthwise convolution and a 1x1 convolution of what it writes, as one layer."""

    depthwise: Convolution
    pointwise: Convolution


@dataclass(frozen=True)
class Pooling:
    """Max or average over windows; the average counts real pixels alone (not the padding).

    Global pooling is a window as large as the image, and ``over_image``. Where several pixels of a
    window reach the maximum, the ``first`` in row-major order has the gradient, or they ``share``
    it equally, as in Keras' GlobalMaxPooling2D on JAX.
    """

    kind: PoolingKind
    pool_size: Pair
    strides: Pair
    padding: Border
    ties: Literal["first", "share"] = "first"
    over_image: bool = False


@dataclass(frozen=True)
class AdaptivePooling:
    """Max or average over windows of unlike sizes, as many as the node's shape has places."""

    kind: PoolingKind


@dataclass(frozen=True)
class Reduce:
    """The sum of the values along ``axes``, counted from the last, -1, or their mean, largest or
    least; the node's shape is without these axes, or has one value along each. Where several reach
    the "max" or the "min", they share its gradient."""

    kind: Literal["sum", "mean", "max", "min"]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Dense:
    """``x @ kernel + bias`` over the last axis, plus activation; kernel is (inputs, units)."""

    units: int
    activation: Activation
    kernel: int
    bias: int | None


@dataclass(frozen=True)
class Penalize:
    """Changes nothing, and adds the ``regularizer`` of its values to the loss: the mean over the
    images of a batch."""

    regularizer: Regularizer


@dataclass(frozen=True)
class AddedLoss:
    """Adds ``factor`` times the sum of the values to the loss, the mean or the sum ``over`` the
    images of a batch. Nothing reads it."""

    factor: float
    over: Literal["mean", "sum"]


@dataclass(frozen=True)
class Augment:
    """Changes images in training alone, in a way not looked into."""


@dataclass(frozen=True)
class Activate:
    """An activation layer of its own. ``axes`` are those that softmax and its like run over,
    counted from the last, -1; None where they are not axes of one image."""

    activation: Activation
    axes: tuple[int, ...] | None = (-1,)


@dataclass(frozen=True)
class Prelu:
    """x above zero, and ``alpha`` times x below, which has as many values along rows, columns and
    channels as ``sizes`` says: all of the image's or one."""

    alpha: int
    sizes: Shape


@dataclass(frozen=True)
class Normalize:
    """``(x - mean) / deviation * gamma + beta``, with the statistics that ``kind`` says.

    "batch": of each channel, over the batch and all places in training, and ``mean`` and
    ``variance`` otherwise. "layer": along ``axes``; "rms": likewise, the mean left alone; "group":
    over all places and the channels of one of ``groups``; "unit": values along ``axes`` are divided
    by their norm; "fixed": none, a factor and a summand for each channel. ``axes`` as in
    ``Activate``. ``frozen`` ones of a batch go by ``mean`` and ``variance`` in training too.
    """

    kind: NormalizeKind
    axes: tuple[int, ...] | None = (-1,)
    epsilon: float = 0.0
    momentum: float = 0.0
    groups: int = 1
    gamma: int | None = None
    beta: int | None = None
    mean: int | None = None
    variance: int | None = None
    frozen: bool = False


@dataclass(frozen=True)
class Merge:
    """Values of all inputs together, place by place; of one input, with a constant or itself."""

    kind: MergeKind


@dataclass(frozen=True)
class Concatenate:
    """Inputs behind one another along ``axis``, counted from the last, -1."""

    axis: int


@dataclass(frozen=True)
class Opaque:
    """What no operation expresses: described as far as it is known, and never compiled.

    It may read anything, or, where it ``sees_all``, all places of its inputs. ``work`` counts its
    multiply-adds for one image where it has a kernel, else its other operations, and is None where
    that is not known.
    """

    kind: Kind = "other"
    work: int | None = None
    activation: Activation = LINEAR
    adds_bias: bool = False
    pooling: PoolingKind | None = None
    sees_all: bool = False


Operation = (
    Input
    | Weight
    | Lookup
    | Rescale
    | Affine
    | Convolution
    | Separable
    | Pooling
    | AdaptivePooling
    | Reduce
    | Flatten
    | Reshape
    | Pad
    | Crop
    | Upsample
    | Resample
    | Move
    | Dense
    | Dropout
    | Noise
    | Draw
    | Flip
    | Warp
    | Tone
    | RandomCrop
    | Erase
    | Augment
    | Penalize
    | AddedLoss
    | Activate
    | Prelu
    | Normalize
    | Merge
    | Concatenate
    | Opaque
)


PENALTIES = (Penalize, AddedLoss)  # what adds to the loss
