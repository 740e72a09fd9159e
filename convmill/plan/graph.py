"""The Graph: what a Keras model computes, as typed operations, free of Keras and of any target.

Every model that Keras stores as a graph of layers becomes one Graph, compiled or not: what no
operation expresses is ``Opaque``. Shapes never hold the batch: a node's ``shape`` is that of one
image, channels last. Which graphs are compiled is told by ``covered.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Shape = tuple[int, ...]
Sizes = tuple[Shape, ...]  # of one image at each input, of a model that takes several sizes
Pair = tuple[int, int]  # along height and width
Border = tuple[int, int, int, int]  # top, bottom, left, right
PoolingKind = Literal["max", "average"]
MergeKind = Literal["add", "subtract", "multiply", "divide", "average", "maximum", "minimum"]
NormalizeKind = Literal["batch", "layer", "rms", "group", "unit", "fixed"]
Role = Literal["weight", "statistic", "constant"]
NoiseKind = Literal["sum", "product", "alpha"]
WarpKind = Literal["rotation", "zoom", "translation", "shear"]
ToneKind = Literal["contrast", "brightness"]
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
class Activation:
    """An activation function, by Keras' name for it; any name, compiled or not.

    ``slope`` is the slope below zero (relu, leaky_relu) or alpha (elu, celu); ``ceiling`` is relu's
    ``max_value``. ``constants`` are further ones in Keras' order: thresholds (of relu where it is
    not zero, of shrinks, of ``threshold`` with its default value), b of squareplus. ``gelu`` is the
    exact one (erf), ``gelu_tanh`` the approximation.
    """

    name: str = "linear"
    slope: float = 0.0
    ceiling: float | None = None
    constants: tuple[float, ...] = ()


LINEAR = Activation()


@dataclass(frozen=True)
class Regularizer:
    """Adds ``l1 * sum(|w|) + l2 * sum(w**2)`` to the loss, as Keras' L1, L2 and L1L2 do."""

    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True)
class NonNegative:
    """Behind each step weights below zero become zero, as Keras' NonNeg says."""


@dataclass(frozen=True)
class NormRange:
    """Behind each step weights are scaled, so that their norms along ``axes`` become
    ``rate * norm within [least, most] + (1 - rate) * norm``: Keras' MaxNorm, UnitNorm, MinMaxNorm.
    ``epsilon``, Keras', is added to what is divided by.
    """

    axes: tuple[int, ...]  # of Keras' layout
    least: float
    most: float
    rate: float = 1.0
    epsilon: float = 1e-7


Constraint = NonNegative | NormRange


@dataclass(frozen=True)
class Parameter:
    """One weight of the model, in Keras' layout (convolution kernels height, width, in, out).

    A "statistic" is written by the forward pass of training, and by no gradient; a "constant" is
    an array that an operation of Keras computes with, and none of the model's weights.
    """

    name: str
    shape: Shape
    trainable: bool = True
    regularizer: Regularizer | None = None
    decays: bool = True  # False where the optimizer's exclude_from_weight_decay names it
    role: Role = "weight"
    constraint: Constraint | None = None


# Operations --------------------------------------------------------------------------------------
# ``kernel``, ``bias`` and their like index ``Graph.parameters``.


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
class Flatten:
    """Any shape to one axis, in row-major order."""


@dataclass(frozen=True)
class Reshape:
    """The values in their order, in the node's shape."""


@dataclass(frozen=True)
class Pad:
    """Zeros around the image."""

    padding: Border


@dataclass(frozen=True)
class Crop:
    """The image without its outer rows and columns."""

    cropping: Border


@dataclass(frozen=True)
class Upsample:
    """Each place ``factors`` times along height and width, by ``interpolation``: "nearest",
    "bilinear" (which has its points at the centres of pixels), or another."""

    factors: Pair
    interpolation: str


@dataclass(frozen=True)
class Resample:
    """An image of another height and width, that of the node's shape, by ``interpolation``, as in
    ``Upsample``; ``antialias`` widens its windows where the image gets smaller. ``cropping`` is
    taken off before."""

    interpolation: str
    antialias: bool = False
    cropping: Border = (0, 0, 0, 0)


@dataclass(frozen=True)
class Nest:
    """Loops of ``sizes``, the last one innermost, that copy values: each goes on by so many values
    in the image that is ``read`` and in the one that is ``written``, from ``source`` and
    ``target``. Both are without gaps, their last axis innermost."""

    sizes: Shape
    read: tuple[int, ...]
    written: tuple[int, ...]
    source: int = 0
    target: int = 0


@dataclass(frozen=True)
class Move:
    """Values at other places: turned, reversed, cut out, repeated. No two of ``parts`` write, or
    read, one value; each writes a value once, and what none writes is zero."""

    parts: tuple[Nest, ...]


@dataclass(frozen=True)
class Dense:
    """``x @ kernel + bias`` over the last axis, plus activation; kernel is (inputs, units)."""

    units: int
    activation: Activation
    kernel: int
    bias: int | None


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share ``rate`` of the values in training and scales the rest by 1/(1-rate).

    ``seed`` counts the net's layers that draw random numbers: the runtime hands one seed to each of
    them. Values along the axes ``shared``, counted from the last, -1, fall together, and those of
    ``one_mask`` in all images of a batch.
    """

    rate: float
    seed: int
    shared: tuple[int, ...] = ()
    one_mask: bool = False


@dataclass(frozen=True)
class Noise:
    """Changes values in training alone, in another way than ``Dropout``, which tells the rest.

    "sum" adds normal numbers of the deviation ``amount``, "product" multiplies by such around one;
    "alpha" has a share ``amount`` of the values take SELU's least one, and keeps mean and variance.
    """

    kind: NoiseKind
    amount: float
    seed: int
    shared: tuple[int, ...] = ()
    one_mask: bool = False


@dataclass(frozen=True)
class Draw:
    """Random numbers for each image, in training and outside it: normal ones of the mean ``first``
    and the deviation ``second``, or uniform ones from the first to below the second."""

    kind: Literal["normal", "uniform"]
    first: float
    second: float
    seed: int


@dataclass(frozen=True)
class Flip:
    """Turns half of the images in training over, along ``rows``, ``columns`` or both at once."""

    rows: bool
    columns: bool
    seed: int


@dataclass(frozen=True)
class Warp:
    """Turns, zooms, moves or shears each image in training, by numbers from ``ranges``: an angle in
    turns; factors of height and width (one: of both); shares of height and width; rows for each
    column and columns for each row, backwards where the number before them is above a half.

    What lies outside is filled: by "constant" ``fill_value``, by the "nearest" pixel, or as images
    ``wrap`` or ``reflect``.
    """

    kind: WarpKind
    ranges: tuple[tuple[float, float], ...]
    interpolation: str
    fill_mode: str
    fill_value: float
    seed: int


@dataclass(frozen=True)
class Tone:
    """In training multiplies the "contrast" of each channel, or adds "brightness" to all values, by
    a number from ``range`` for each image; then holds values to ``limits``."""

    kind: ToneKind
    range: tuple[float, float]
    limits: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class Erase:
    """In training fills a rectangle of an image, by a chance from ``chances`` for each: its height
    and width are shares of the image's whose squares are from ``areas``. It is filled with one
    number for each channel or for all, or with normal numbers times the upper of ``limits``, held
    to both, where ``fill`` is None."""

    chances: tuple[float, float]
    areas: tuple[float, float]
    fill: tuple[float, ...] | None
    limits: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class RandomCrop:
    """In training cuts a window of the node's shape out of each image, at a place that is drawn
    once a step: the same for all images of a batch. It is smaller than the image both ways."""

    seed: int


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


AUGMENTATIONS = (Flip, Warp, Tone)
PENALTIES = (Penalize, AddedLoss)  # what adds to the loss
# What draws random numbers, and has a ``seed``.
RANDOM = (Dropout, Noise, Draw, RandomCrop, Erase, *AUGMENTATIONS)


# Nodes -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """Why something is not compiled, and what would be."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class Node:
    """One step of the graph: ``operation`` on the outputs of ``inputs`` (names of nodes).

    ``layer`` is the class of the layer that it was read from. ``read`` has the shapes of what it
    reads where they are not those of its inputs (another output of a layer with several).
    ``parameters`` indexes all that the layer holds. ``repeats`` names the first call of a layer
    that is called more than once. ``refusal`` is set where the layer does something that its
    operation does not say.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    shape: Shape
    layer: str = ""
    read: tuple[Shape, ...] = ()
    parameters: tuple[int, ...] = ()
    repeats: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class DeadEnd:
    """Where shapes come to an end: the layer that cannot be applied, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which every input precedes its reader; parameters in Keras' order.

    ``inputs`` and ``outputs`` name nodes. ``channels_last`` is False where any layer counts
    channels first: then places are not known. ``dead_end`` is set where the model cannot be built
    for the size asked for; the nodes then end before that layer. ``refusal`` is what the model as a
    whole asks for and no node says. Parameters that no node holds are the model's own.
    ``inference`` are the same nodes outside training, where images have other sizes there.
    """

    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    channels_last: bool = True
    dead_end: DeadEnd | None = None
    refusal: Refusal | None = None
    inference: tuple[Node, ...] | None = None

    @property
    def input_shape(self) -> Shape:
        """Shape of one input image, of a graph with one input."""
        return self.node(self.inputs[0]).shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the net's output for one image, of a graph with one output."""
        return self.node(self.outputs[0]).shape

    @cached_property
    def penalties(self) -> tuple[Literal["mean", "sum"], ...]:
        """What is taken over a batch's images of each penalty of what layers compute."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, PENALTIES))
        return tuple(one.over if isinstance(one, AddedLoss) else "mean" for one in found)

    @property
    def dropouts(self) -> int:
        """How many calls of layers draw random numbers."""
        return len(self.draws)

    @cached_property
    def draws(self) -> tuple[int, ...]:
        """How often each call that draws random numbers asks Keras for a seed in a step, by its
        ``seed``: once, or once for each number that an image needs."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, RANDOM))
        counts = {one.seed: _draws_of(one) for one in found}
        return tuple(counts[seed] for seed in sorted(counts))

    @cached_property
    def draws_always(self) -> tuple[bool, ...]:
        """Whether each of these calls draws outside training as well."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, RANDOM))
        always = {one.seed: isinstance(one, Draw) for one in found}
        return tuple(always[seed] for seed in sorted(always))

    def outside_training(self) -> Graph:
        """The graph of evaluation and prediction."""
        if self.inference is None:
            return self
        return replace(self, nodes=self.inference, inference=None)

    def node(self, name: str) -> Node:
        """The node called ``name``; KeyError where there is none."""
        return self._by_name[name]

    def read(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of what ``node`` reads of each of its inputs."""
        return node.read or tuple(self.node(name).shape for name in node.inputs)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the output of ``name``, each once."""
        return tuple(self._readers.get(name, ()))

    def sole_reader(self, name: str) -> Node | None:
        """The node that reads ``name``, where it is the only one and the graph does not hand
        ``name`` out as well."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return readers


def _draws_of(operation: Operation) -> int:
    match operation:
        case Warp(ranges=ranges):
            return len(ranges)
        case RandomCrop():  # a row and a column
            return 2
        case Erase(fill=fill):  # both sizes, two places, two of chance, what it is filled with
            return 5 if fill else 6
    return 1


class NotCovered(Exception):
    """The compiler does not cover this model or its training; ``reason`` says what and why, and
    ``remedy`` what would help. Its text says both."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}. To have it compiled: {self.remedy}" if self.remedy else self.reason


class DataNotCovered(NotCovered):
    """Data that the compiler does not take, and that Keras may."""
