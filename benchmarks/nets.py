"""The nets of the benchmark, as plain data.

Every framework's builder (`workers/keras_nets.py`, `workers/torch_nets.py`, `workers/jax_nets.py`)
and the cost model (`costs.py`) read the same tuple of layers, so that all peers train the same net.
"""

from dataclasses import dataclass
from typing import Literal

Padding = Literal["valid", "same"]
Activation = Literal["linear", "relu", "softmax"]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Conv:
    filters: int
    kernel: Pair = (3, 3)
    stride: int = 1
    padding: Padding = "valid"
    activation: Activation = "relu"


@dataclass(frozen=True)
class Depthwise:
    kernel: Pair = (3, 3)
    stride: int = 1
    padding: Padding = "same"


@dataclass(frozen=True)
class BatchNorm:
    pass


@dataclass(frozen=True)
class Act:
    activation: Activation


@dataclass(frozen=True)
class MaxPool:
    size: Pair = (2, 2)


@dataclass(frozen=True)
class AveragePool:
    size: Pair = (2, 2)


@dataclass(frozen=True)
class GlobalAveragePool:
    pass


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class Dropout:
    rate: float


@dataclass(frozen=True)
class Dense:
    units: int
    activation: Activation = "relu"


@dataclass(frozen=True)
class Residual:
    """relu(body(x) + shortcut(x)); an empty shortcut is the identity."""

    body: "tuple[Layer, ...]"
    shortcut: "tuple[Layer, ...]" = ()


Layer = (
    Conv
    | Depthwise
    | BatchNorm
    | Act
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Flatten
    | Dropout
    | Dense
    | Residual
)


@dataclass(frozen=True)
class Net:
    """A classifier with its training recipe.

    `input_shape` is (height, width, channels); `parameters` counts running statistics too.
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    parameters: int
    batch: int = 64
    optimizer: Literal["rmsprop", "adam", "sgd"] = "rmsprop"
    learning_rate: float = 1e-3

    @property
    def classes(self) -> int:
        """Units of the last Dense layer, or filters of the last convolution where there is none."""
        return next(
            layer.units if isinstance(layer, Dense) else layer.filters
            for layer in reversed(self.layers)
            if isinstance(layer, Dense | Conv)
        )


GREY, COLOUR = (28, 28, 1), (32, 32, 3)
POOL, FLATTEN, NORM, RELU = MaxPool(), Flatten(), BatchNorm(), Act("relu")
HEAD = Dense(10, "softmax")


def _same(filters: int, stride: int = 1, size: int = 3) -> Conv:
    return Conv(filters, (size, size), stride, "same")


def _residual(filters: int, stride: int, widens: bool) -> Residual:
    """conv-BN-relu-conv-BN beside the identity, or a 1x1 convolution where the shape changes."""
    first = Conv(filters, (3, 3), stride, "same", "linear")
    second = Conv(filters, (3, 3), 1, "same", "linear")
    shortcut = (Conv(filters, (1, 1), stride, "same", "linear"),) if widens else ()
    return Residual((first, NORM, RELU, second, NORM), shortcut)


def _resnet(blocks: int) -> tuple[Layer, ...]:
    stem: tuple[Layer, ...] = (Conv(16, padding="same", activation="linear"), NORM, RELU)
    stages = tuple(
        _residual(filters, 2 if block == 0 and filters > 16 else 1, block == 0 and filters > 16)
        for filters in (16, 32, 64)
        for block in range(blocks)
    )
    return (*stem, *stages, AveragePool((8, 8)), FLATTEN, HEAD)


def _separable(filters: int, stride: int = 1) -> tuple[Layer, ...]:
    """A depthwise 3x3 and a pointwise convolution, each with BatchNormalization and ReLU."""
    return (
        *(Depthwise(stride=stride), NORM, RELU),
        *(Conv(filters, (1, 1), activation="linear"), NORM, RELU),
    )


_MOBILENET_BLOCKS = (
    (16, 1),
    (32, 2),
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    *[(128, 1)] * 5,
    (256, 2),
    (256, 1),
)
_MOBILENET: tuple[Layer, ...] = (
    *(Conv(8, (3, 3), 2, "same", "linear"), NORM, RELU),
    *(layer for filters, stride in _MOBILENET_BLOCKS for layer in _separable(filters, stride)),
    *(AveragePool((3, 3)), FLATTEN, Dense(2, "softmax")),
)
_ALL_CNN_C: tuple[Layer, ...] = (
    *(Dropout(0.2), _same(96), _same(96), _same(96, 2)),
    *(Dropout(0.5), _same(192), _same(192), _same(192, 2)),
    *(
        Dropout(0.5),
        Conv(192),
        Conv(192, (1, 1)),
        Conv(10, (1, 1)),
        GlobalAveragePool(),
        Act("softmax"),
    ),
)
_DS_CNN: tuple[Layer, ...] = (
    *(Conv(64, (10, 4), 2, "same", "linear"), NORM, RELU, Dropout(0.2)),
    *(layer for _ in range(4) for layer in _separable(64)),
    *(Dropout(0.4), AveragePool((24, 5)), FLATTEN, Dense(12, "softmax")),
)
_NOTEBOOK_TAIL: tuple[Layer, ...] = (Conv(64), FLATTEN, Dense(64), HEAD)
_CIFAR10_CNN: tuple[Layer, ...] = (
    *(_same(32), Conv(32), POOL, Dropout(0.25)),
    *(_same(64), Conv(64), POOL, Dropout(0.25)),
    *(FLATTEN, Dense(512), Dropout(0.5), HEAD),
)
_MNIST_CNN: tuple[Layer, ...] = (
    *(Conv(32), Conv(64), POOL, Dropout(0.25)),
    *(FLATTEN, Dense(128), Dropout(0.5), HEAD),
)
_LENET_5: tuple[Layer, ...] = (
    *(Conv(6, (5, 5)), POOL, Conv(16, (5, 5)), POOL),
    *(FLATTEN, Dense(120), Dense(84), HEAD),
)
_FASHION: tuple[Layer, ...] = (
    *(_same(32, size=5), POOL, _same(64, size=5), POOL),
    *(FLATTEN, Dense(1024), Dropout(0.4), HEAD),
)
_TINY_BN: tuple[Layer, ...] = (
    *(Conv(32, (5, 5)), Conv(32, (5, 5)), NORM, POOL),
    *(Conv(64), Conv(64), NORM, POOL, FLATTEN, HEAD),
)

_ALL = (
    Net("notebook", GREY, (Conv(32), POOL, Conv(64), POOL, *_NOTEBOOK_TAIL), 93_322),
    Net("notebook-nopool", GREY, (Conv(32), Conv(64), Conv(64), FLATTEN, HEAD), 365_514),
    # Maps of 13, 6 and 4; the pooled net has 13, 5 and 3, and 'same' would be farther off.
    Net(
        "notebook-strided", GREY, (Conv(32, stride=2), Conv(64, stride=2), *_NOTEBOOK_TAIL), 121_994
    ),
    Net(
        "notebook-avgpool",
        GREY,
        (Conv(32), AveragePool(), Conv(64), AveragePool(), *_NOTEBOOK_TAIL),
        93_322,
    ),
    Net(
        "gap",
        GREY,
        (Conv(64), POOL, Conv(128), POOL, Conv(256), GlobalAveragePool(), HEAD),
        372_234,
        64,
        "adam",
    ),
    Net(
        "mnist-convnet",
        GREY,
        (Conv(32), POOL, Conv(64), POOL, FLATTEN, Dropout(0.5), HEAD),
        34_826,
        128,
        "adam",
    ),
    # The original trains with Adadelta; figures of before are with Adam, so every peer takes that.
    Net("mnist-cnn", GREY, _MNIST_CNN, 1_199_882, 128, "adam"),
    Net("lenet-5", GREY, _LENET_5, 44_426, 64, "adam", 3e-4),
    Net("fashion", GREY, _FASHION, 3_274_634, 400, "sgd", 1e-3),
    Net("tiny-bn", GREY, _TINY_BN, 88_042, 512, "adam"),
    Net("cifar10-cnn", COLOUR, _CIFAR10_CNN, 1_250_858, 32, "rmsprop", 1e-4),
    Net("all-cnn-c", COLOUR, _ALL_CNN_C, 1_369_738, 32, "sgd", 1e-2),
    Net("resnet-8", COLOUR, _resnet(1), 78_666, 32, "adam"),
    Net("resnet-20", COLOUR, _resnet(3), 274_442, 32, "adam"),
    Net("mobilenet", (96, 96, 3), _MOBILENET, 221_794, 32, "adam"),
    Net("ds-cnn", (49, 10, 1), _DS_CNN, 24_908, 100, "adam"),
)
NETS = {net.name: net for net in _ALL}
