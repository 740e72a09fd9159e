"""Small nets written down directly as Graphs, data for them, and the comparison with the twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from convmill.lower.launches import gradient, value
from convmill.lower.machine import TARGETS
from convmill.lower.tensors import Tensor
from convmill.plan.graph.activations import Activation
from convmill.plan.graph.moves import Flatten
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    Activate,
    Convolution,
    Dense,
    Input,
    Operation,
    Penalize,
    Pooling,
    Rescale,
    Separable,
)
from convmill.plan.graph.parameters import Parameter, Regularizer
from convmill.plan.graph.random import Dropout
from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Loss, Optimizer, Recipe, one_goal
from convmill.plan.windows import transposed_cut
from convmill.runtime import host
from convmill.runtime.program import Batches, Measured, Program
from tests.twin import losses
from tests.twin import net as twin

GUARD = 64  # bytes behind each part of a record
TOLERANCE = 1e-5  # relative norm, against float64
# Vectors of each length: LLVM makes several of one that this processor does not have.
WIDTHS = {
    f"{one.lanes} lanes": replace(one, architecture=host.processor().architecture)
    for one in (TARGETS[name] for name in ("avx512", "avx2", "sse4"))
}
Pair = tuple[int, int]


class Chain:
    """A Graph being written: nodes and parameters so far."""

    def __init__(self, shape: Shape) -> None:
        self.nodes = [Node("input", Input(), (), shape)]
        self.parameters: list[Parameter] = []
        self.dropouts = 0

    @property
    def shape(self) -> Shape:
        """What the last node writes."""
        return self.nodes[-1].shape

    def add(self, operation: Operation, shape: Shape) -> None:
        """Append a node that reads the last one, and holds the parameters that no other holds."""
        name = f"{type(operation).__name__.lower()}{len(self.nodes)}"
        held = sum(len(node.parameters) for node in self.nodes)
        parameters = tuple(range(held, len(self.parameters)))
        before = self.nodes[-1].name
        self.nodes.append(Node(name, operation, (before,), shape, parameters=parameters))

    def parameter(self, shape: Shape, **options: Any) -> int:
        """Index of a new parameter."""
        self.parameters.append(Parameter(f"parameter{len(self.parameters)}", shape, **options))
        return len(self.parameters) - 1

    def graph(self) -> Graph:
        """The Graph that was written."""
        ends = (self.nodes[0].name,), (self.nodes[-1].name,)
        return Graph(tuple(self.nodes), tuple(self.parameters), *ends)


Layer = Callable[[Chain], None]


def graph_of(shape: Shape, *layers: Layer) -> Graph:
    """The Graph of ``layers`` behind one another."""
    chain = Chain(shape)
    for layer in layers:
        layer(chain)
    return chain.graph()


ONE = (1, 1)


def padding_of(
    shape: Shape, size: Pair, strides: Pair, padding: str, dilation: Pair = ONE
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) for "valid" or "same"; an odd pixel goes below and right."""
    if padding == "valid":
        return 0, 0, 0, 0
    pads = []
    for axis, stride in enumerate(strides):
        extent, window = shape[axis], (size[axis] - 1) * dilation[axis] + 1
        total = max((math.ceil(extent / stride) - 1) * stride + window - extent, 0)
        pads += [total // 2, total - total // 2]
    return pads[0], pads[1], pads[2], pads[3]


def grid(
    shape: Shape,
    size: Pair,
    strides: Pair,
    pads: tuple[int, int, int, int],
    dilation: Pair = ONE,
) -> Pair:
    """Rows and columns of windows."""
    reach = [(size[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    rows = (shape[0] + pads[0] + pads[1] - reach[0]) // strides[0] + 1
    return rows, (shape[1] + pads[2] + pads[3] - reach[1]) // strides[1] + 1


def conv(
    filters: int,
    size: Pair = (3, 3),
    strides: Pair = (1, 1),
    padding: str = "valid",
    activation: str | Activation = "relu",
    *,
    bias: bool = True,
    trainable: bool = True,
    regularizer: Regularizer | None = None,
    dilation: Pair = ONE,
    groups: int = 1,
) -> Layer:
    """A convolution."""

    def add(chain: Chain) -> None:
        shape = chain.shape
        pads = padding_of(shape, size, strides, padding, dilation)
        kernel = chain.parameter(
            (*size, shape[2] // groups, filters), trainable=trainable, regularizer=regularizer
        )
        place = chain.parameter((filters,), trainable=trainable) if bias else None
        window = (size, strides, pads, named(activation), kernel, place, dilation, groups)
        chain.add(
            Convolution(filters, *window), (*grid(shape, size, strides, pads, dilation), filters)
        )

    return add


def transposed(
    filters: int,
    size: Pair = (3, 3),
    strides: Pair = (2, 2),
    padding: str = "valid",
    activation: str | Activation = "relu",
    *,
    dilation: Pair = ONE,
    bias: bool = True,
    extra: int | None = None,
) -> Layer:
    """A transposed convolution; ``extra`` is its output_padding."""

    def add(chain: Chain) -> None:
        shape, pads, places = chain.shape, [], []
        for axis in (0, 1):
            window, stride = (size[axis] - 1) * dilation[axis] + 1, strides[axis]
            before = transposed_cut(window, stride, padding, extra)
            spread = (shape[axis] - 1) * stride + window
            if padding == "valid":
                places.append(spread + (max(stride - window, 0) if extra is None else extra))
            elif extra is None:
                places.append(shape[axis] * stride)
            else:
                places.append((shape[axis] - 1) * stride + window % 2 + extra)
            pads += [before, spread - before - places[-1]]
        kernel = chain.parameter((*size, filters, shape[2]))
        place = chain.parameter((filters,)) if bias else None
        window_ = (size, strides, tuple(pads), named(activation), kernel, place, dilation)
        chain.add(Convolution(filters, *window_, transposed=True), (*places, filters))

    return add


def separable(
    filters: int,
    size: Pair = (3, 3),
    strides: Pair = (1, 1),
    padding: str = "valid",
    activation: str | Activation = "relu",
    *,
    multiplier: int = 1,
    dilation: Pair = ONE,
    bias: bool = True,
) -> Layer:
    """A depthwise convolution and a 1x1 convolution as one layer."""

    def add(chain: Chain) -> None:
        shape, middle = chain.shape, chain.shape[2] * multiplier
        pads = padding_of(shape, size, strides, padding, dilation)
        depth = chain.parameter((*size, shape[2], multiplier))
        point = chain.parameter((1, 1, middle, filters))
        place = chain.parameter((filters,)) if bias else None
        window = (size, strides, pads, named("linear"), depth, None, dilation)
        first = Convolution(middle, *window, groups=shape[2], depthwise=True)
        second = Convolution(filters, ONE, ONE, (0, 0, 0, 0), named(activation), point, place)
        places = grid(shape, size, strides, pads, dilation)
        chain.add(Separable(first, second), (*places, filters))

    return add


def depthwise(
    size: Pair = (3, 3),
    strides: Pair = (1, 1),
    padding: str = "valid",
    activation: str | Activation = "relu",
    *,
    multiplier: int = 1,
    dilation: Pair = ONE,
    bias: bool = True,
    trainable: bool = True,
) -> Layer:
    """A convolution of each channel by itself."""

    def add(chain: Chain) -> None:
        shape, channels = chain.shape, chain.shape[2]
        pads = padding_of(shape, size, strides, padding, dilation)
        kernel = chain.parameter((*size, channels, multiplier), trainable=trainable)
        filters = channels * multiplier
        place = chain.parameter((filters,), trainable=trainable) if bias else None
        window = (size, strides, pads, named(activation), kernel, place, dilation)
        operation = Convolution(filters, *window, groups=channels, depthwise=True)
        chain.add(operation, (*grid(shape, size, strides, pads, dilation), filters))

    return add


def pool(
    kind: Any,
    size: Pair,
    strides: Pair | None = None,
    padding: str = "valid",
    ties: Any = "first",
) -> Layer:
    """Max or average pooling; windows lie side by side unless told otherwise."""

    def add(chain: Chain) -> None:
        steps = strides or size
        pads = padding_of(chain.shape, size, steps, padding)
        places = grid(chain.shape, size, steps, pads)
        chain.add(Pooling(kind, size, steps, pads, ties), (*places, chain.shape[2]))

    return add


def dense(
    units: int,
    activation: str | Activation = "linear",
    *,
    bias: bool = True,
    trainable: bool = True,
    regularizer: Regularizer | None = None,
    decays: bool = True,
) -> Layer:
    """A dense layer."""

    def add(chain: Chain) -> None:
        options = {"trainable": trainable, "decays": decays}
        kernel = chain.parameter((chain.shape[0], units), regularizer=regularizer, **options)
        place = chain.parameter((units,), **options) if bias else None
        chain.add(Dense(units, named(activation), kernel, place), (units,))

    return add


def flatten(chain: Chain) -> None:
    """Flatten."""
    chain.add(Flatten(), (math.prod(chain.shape),))


def activate(activation: str | Activation) -> Layer:
    """An activation layer."""
    return lambda chain: chain.add(Activate(named(activation)), chain.shape)


def rescale(scale: float, offset: float) -> Layer:
    """Rescaling."""
    return lambda chain: chain.add(Rescale(scale, offset), chain.shape)


def penalize(regularizer: Regularizer) -> Layer:
    """A penalty of what is there."""
    return lambda chain: chain.add(Penalize(regularizer), chain.shape)


def dropout(rate: float) -> Layer:
    """Dropout, with the next seed."""

    def add(chain: Chain) -> None:
        chain.add(Dropout(rate, chain.dropouts), chain.shape)
        chain.dropouts += 1

    return add


def named(activation: str | Activation) -> Activation:
    """An activation by the name that Keras gives it, with Keras' constants."""
    if isinstance(activation, Activation):
        return activation
    known = {
        "relu6": Activation("relu", ceiling=6.0),
        "leaky_relu": Activation("leaky_relu", slope=0.2),
        "elu": Activation("elu", slope=1.0),
    }
    return known.get(activation) or Activation(activation)  # type: ignore[arg-type]


# Data --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Images, labels, sample weights and the order in which they are read."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    order: np.ndarray
    batch_size: int

    @property
    def batches(self) -> Batches:
        """As a Program reads it."""
        return Batches(self.x, self.order, self.batch_size, self.y, self.weight)

    @property
    def steps(self) -> int:
        """Number of batches."""
        return -(-len(self.order) // self.batch_size)

    def batch(self, step: int) -> np.ndarray:
        """Indices of the images of one step."""
        return self.order[step * self.batch_size : (step + 1) * self.batch_size]

    def weight_of(self, chosen: np.ndarray) -> np.ndarray | None:
        """Sample weights of some images."""
        return None if self.weight is None else self.weight[chosen]


def images(rng: np.random.Generator, count: int, shape: Shape, dtype: str) -> np.ndarray:
    """Random images: 0 to 255, or standard normal."""
    if dtype == "uint8":
        return rng.integers(0, 256, (count, *shape), np.uint8)
    return rng.standard_normal((count, *shape)).astype(dtype)


def labels(rng: np.random.Generator, count: int, graph: Graph, loss: Loss) -> np.ndarray:
    """Labels that suit a loss: class indices, one-hot rows, zeros and ones, or any numbers."""
    shape = (count, *graph.output_shape)
    classes = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    if loss.sparse:
        return classes
    if loss.name.startswith("categorical"):
        return np.eye(shape[-1], dtype=np.float32)[classes]
    if loss.name.startswith("binary"):
        return rng.integers(0, 2, shape).astype(np.float32)
    if loss.name.endswith("hinge"):
        return rng.choice([-1.0, 1.0], shape).astype(np.float32)
    if loss.name in ("poisson", "kl_divergence", "mean_absolute_percentage_error"):
        return (rng.random(shape) + 0.01).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)


def parameters(rng: np.random.Generator, graph: Graph, scale: float = 1.0) -> list[np.ndarray]:
    """Random weights that keep the size of what they read (times ``scale`` in the first)."""
    values = []
    for index, parameter in enumerate(graph.parameters):
        fan_in = math.prod(parameter.shape[:-1])
        spread = 0.1 if len(parameter.shape) == 1 else fan_in**-0.5
        spread *= scale if index == 0 else 1
        values.append((rng.standard_normal(parameter.shape) * spread).astype(np.float32))
    return values


def data(
    rng: np.random.Generator,
    graph: Graph,
    loss: Loss,
    count: int = 11,
    batch_size: int = 4,
    *,
    dtype: str = "float32",
    weighted: bool | Literal["places"] = False,
) -> Data:
    """Random images in a random order, each read once; with weights of images or of places."""
    places = graph.output_shape[:-1] if weighted == "places" else ()
    weight = rng.random((count, *places)).astype(np.float32) + 0.5 if weighted else None
    return Data(
        images(rng, count, graph.input_shape, dtype),
        labels(rng, count, graph, loss),
        weight,
        rng.permutation(count).astype(np.int64),
        batch_size,
    )


# Programs ----------------------------------------------------------------------------------------


def recipe_of(loss: str | Loss, optimizer: Optimizer | None = None, **options: Any) -> Recipe:
    """A Recipe with the loss of that name, and plain SGD unless told otherwise."""
    spec = loss if isinstance(loss, Loss) else Loss(loss)  # type: ignore[arg-type]
    return one_goal(spec, optimizer or Optimizer("sgd"), **options)


def loss_name(loss: Loss) -> str:
    """A loss's name, with those of its options that are not the usual ones."""
    words = [loss.name, "logits" if loss.from_logits else ""]
    words += ["smooth" if loss.label_smoothing else "", "sum" if loss.reduction == "sum" else ""]
    return " ".join(word for word in words if word)


def program_of(
    graph: Graph, recipe: Recipe | None, values: Sequence[np.ndarray], **options: Any
) -> Program:
    """A Program with these weights; two threads unless told otherwise."""
    options.setdefault("threads", 2)
    program = Program(graph, recipe, **options)
    program.set_parameters(values)
    return program


def poisoned(count: int, graph: Graph) -> np.ndarray:
    """Room for predictions, NaN until they are written."""
    return np.full((count, *graph.output_shape), np.nan, np.float32)


def in_records(program: Program, kind: Literal["value", "gradient"], tensor: Tensor) -> np.ndarray:
    """A tensor's values or gradients, (images, height, width, channels), behind a training run."""
    slot = value(tensor) if kind == "value" else gradient(tensor)
    flat = program.left(slot.name).view(np.float32)
    whole = flat.reshape(len(flat), -1, tensor.row // tensor.channels, tensor.channels)
    top, _, left, _ = tensor.halo
    return whole[:, top : top + tensor.height, left : left + tensor.width]


def assert_intact(program: Program) -> None:
    """No guard inside a record was written to."""
    assert program.intact()


def assert_near(
    ours: np.ndarray,
    exact: np.ndarray,
    what: str,
    tolerance: float = TOLERANCE,
    summed: Callable[[], float] | None = None,
) -> None:
    """The difference's norm is at most ``tolerance`` times that of ``exact``; or of what is
    ``summed``, where the terms cancel one another: rounding errors are as large as terms are."""
    assert ours.shape == exact.shape, what
    assert np.isfinite(ours).all(), f"{what} holds what is no number"
    difference = np.linalg.norm(ours - exact)
    size = np.linalg.norm(exact)
    if difference > tolerance * size and summed is not None:
        size = summed()
    assert difference <= tolerance * size, f"{what}: {difference:.3g} away, of {size:.3g}"


def assert_follows_twin(
    program: Program, values: Sequence[np.ndarray], given: Data, tolerance: float = TOLERANCE
) -> Measured:
    """Predictions, losses, accuracies and the gradients of the last step agree with float64.

    The steps are made with a rate of zero, so that all of them see the same weights. The graph has
    neither dropout nor regularizers.
    """
    graph, recipe = program.graph, program.recipe
    assert recipe is not None
    order = given.order
    outputs = poisoned(len(order), graph)
    record = program.train(given.batches, np.zeros(given.steps), outputs=outputs)
    exact = twin.forward(graph, values, given.x)[graph.nodes[-1].name]
    assert_near(outputs, exact[order], "predictions of the training pass", tolerance)
    each, _ = twin.gradients(graph, recipe, values, given.x, given.y, given.weight)
    assert_near(record.loss, each[order], "losses", tolerance)
    if recipe.accuracy is not None:
        right = losses.correct(recipe.accuracy, outputs.astype(np.float64), given.y[order])
        np.testing.assert_array_equal(record.correct, right.astype(np.float32))
    chosen = given.batch(given.steps - 1)

    def exact_gradients(images: np.ndarray) -> Sequence[np.ndarray]:
        x, y, weight = given.x[images], given.y[images], given.weight_of(images)
        return twin.gradients(graph, recipe, values, x, y, weight)[1]

    def summed(index: int) -> float:
        """Norms of the images' gradients, as they add up to that of the batch."""
        norms = [np.linalg.norm(exact_gradients(chosen[[i]])[index]) for i in range(len(chosen))]
        return float(sum(norms)) / (len(chosen) if recipe.loss.reduction == "mean" else 1)

    gradients = exact_gradients(chosen)
    trainable = [index for index, one in enumerate(graph.parameters) if one.trainable]
    for index, ours in zip(trainable, program.get_gradients(), strict=True):
        what = f"gradient of parameter {index}"
        assert_near(ours, gradients[index], what, tolerance, partial(summed, index))
    for before, after in zip(values, program.get_parameters(), strict=True):
        np.testing.assert_array_equal(before, after)
    return record
