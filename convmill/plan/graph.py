"""The Graph: what a Keras model computes, as typed operations, free of Keras and of any target.

Shapes never hold the batch: a node's ``shape`` is that of one image, channels last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Pair = tuple[int, int]  # along height and width
ActivationName = Literal[
    "linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "elu", "gelu", "gelu_tanh"
]


@dataclass(frozen=True)
class Activation:
    """An activation function.

    ``slope`` is the slope below zero (relu, leaky_relu) or alpha (elu); ``ceiling`` is relu's
    ``max_value``. ``gelu`` is the exact one (erf), ``gelu_tanh`` the approximation.
    """

    name: ActivationName = "linear"
    slope: float = 0.0
    ceiling: float | None = None


LINEAR = Activation()


@dataclass(frozen=True)
class Regularizer:
    """Adds ``l1 * sum(|w|) + l2 * sum(w**2)`` to the loss, as Keras' L1, L2 and L1L2 do."""

    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True)
class Parameter:
    """One weight of the model, in Keras' layout (convolution kernels height, width, in, out)."""

    name: str
    shape: Shape
    trainable: bool = True
    regularizer: Regularizer | None = None
    decays: bool = True  # False where the optimizer's exclude_from_weight_decay names it


@dataclass(frozen=True)
class Input:
    """The image that the net reads."""


@dataclass(frozen=True)
class Rescale:
    """``x * scale + offset``."""

    scale: float
    offset: float


@dataclass(frozen=True)
class Convolution:
    """2-D convolution (cross-correlation), plus bias where ``bias`` is set, plus activation.

    ``padding`` is (top, bottom, left, right) in zero pixels. ``kernel`` and ``bias`` index
    ``Graph.parameters``; the kernel's shape is (height, width, channels in, filters).
    """

    filters: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    activation: Activation
    kernel: int
    bias: int | None


@dataclass(frozen=True)
class Pooling:
    """Max or average over windows; the average counts real pixels alone (not the padding).

    Global pooling is a window as large as the image. Where several pixels of a window reach the
    maximum, the ``first`` in row-major order has the gradient, or they ``share`` it equally, as in
    Keras' GlobalMaxPooling2D on JAX.
    """

    kind: Literal["max", "average"]
    pool_size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    ties: Literal["first", "share"] = "first"


@dataclass(frozen=True)
class Flatten:
    """Any shape to one axis, in row-major order."""


@dataclass(frozen=True)
class Dense:
    """``x @ kernel + bias`` over one axis, plus activation; kernel is (inputs, units)."""

    units: int
    activation: Activation
    kernel: int
    bias: int | None


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share ``rate`` of the values in training and scales the rest by 1/(1-rate).

    ``seed`` counts the net's dropout layers: the runtime hands one seed to each of them.
    """

    rate: float
    seed: int


@dataclass(frozen=True)
class Activate:
    """An activation layer of its own."""

    activation: Activation


Operation = Input | Rescale | Convolution | Pooling | Flatten | Dense | Dropout | Activate


@dataclass(frozen=True)
class Node:
    """One step of the graph: ``operation`` on the outputs of ``inputs`` (names of nodes)."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which every input precedes its reader; parameters in Keras' order."""

    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]

    @property
    def input_shape(self) -> Shape:
        """Shape of one input image."""
        return self.nodes[0].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the net's output for one image."""
        return self.nodes[-1].shape

    @property
    def dropouts(self) -> int:
        """How many dropout layers the net holds."""
        return sum(isinstance(node.operation, Dropout) for node in self.nodes)

    def node(self, name: str) -> Node:
        """The node called ``name``; KeyError where there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


class NotCovered(Exception):
    """The compiler does not cover this model or its training; ``reason`` says what and why."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
