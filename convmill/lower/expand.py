"""The first pass: from a graph's nodes to stages, mostly one each.

    Conv2D, relu     =>  [convolution relu]
    SeparableConv2D  =>  [depthwise] -> [convolution 1x1]
    mean(x, -1)      =>  [mean, its axis kept] -> [reshape]
    Flatten          =>  another view of the same buffer, and no stage
    anything else    =>  [a plain stage], whether it can be compiled or not

Nodes, and with them buffers, are numbered in the graph's order: no name goes further.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from convmill.lower.convolutions import border_around, convolution_stages
from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DenseStage,
    Moments,
    PlainStage,
    Stage,
)
from convmill.lower.tensors import NO_HALO, Tensor
from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.moves import Flatten, Reshape
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    Activate,
    Convolution,
    Dense,
    Input,
    Normalize,
    Reduce,
    Separable,
)
from convmill.plan.graph.shapes import Border, Shape

ONE_TAP = ((1, 1), (1, 1), NO_HALO)  # size and strides of a window, and its padding


@dataclass(frozen=True)
class Expanded:
    """Stages in the graph's order, and the tensors that its inputs are read into and that its
    outputs are handed out of."""

    stages: list[Stage]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def expand(graph: Graph) -> Expanded:
    """One stage a node. Memory that gets a border of zeros has no other view, and none of it is
    handed out: there a copy is made."""
    stages: list[Stage] = []
    written: dict[str, Tensor] = {}
    roots: dict[str, str] = {}
    bordered, at_places = _bordered(graph), _at_places(graph)
    for number, node in enumerate(graph.nodes):
        roots[node.name] = node.name
        if isinstance(node.operation, Input):
            written[node.name] = tensor_of(number, node.shape)
        elif isinstance(node.operation, Flatten) and roots[node.inputs[0]] not in bordered:
            source = written[node.inputs[0]]
            view = replace(source, height=1, width=1, channels=source.values)
            written[node.name], roots[node.name] = view, roots[node.inputs[0]]
        else:
            read = tuple(written[name] for name in node.inputs)
            written[node.name] = tensor_of(number, node.shape)
            spare = len(graph.nodes) + number
            found = stages_of(number, node, read, written[node.name], spare)
            stages += [_as_at_places(one, at_places) for one in found]
    outputs = []
    for number, name in enumerate(graph.outputs):
        tensor = written[name]
        if name in bordered:
            read, tensor = (tensor,), replace(tensor, buffer=2 * len(graph.nodes) + number)
            position = graph.nodes.index(graph.node(name))
            stages.append(PlainStage((position,), read, tensor, Activate(LINEAR), part=1))
        outputs.append(tensor)
    inputs = tuple(written[name] for name in graph.inputs)
    return Expanded(stages, inputs, tuple(outputs))


def _bordered(graph: Graph) -> set[str]:
    """The nodes whose memory gets a border of zeros: a convolution that pads reads them."""
    return {node.inputs[0] for node in graph.nodes if any(_border(graph, node))}


def _at_places(graph: Graph) -> set[int]:
    """The kernels of dense layers that go over the places of a map, where they are held as those of
    convolutions are."""
    at_places = (node.operation for node in graph.nodes if len(node.shape) > 1)
    return {operation.kernel for operation in at_places if isinstance(operation, Dense)}


def _as_at_places(stage: Stage, kernels: set[int]) -> Stage:
    """A dense layer on a vector whose kernel goes over places elsewhere: a map of one place."""
    if not isinstance(stage, DenseStage) or stage.kernel not in kernels:
        return stage
    weights = (stage.kernel, stage.bias, stage.activation)
    return ConvolutionStage(stage.nodes, stage.input, stage.output, *weights, *ONE_TAP)


def _border(graph: Graph, node: Node) -> Border:
    if node.read or not isinstance(node.operation, (Convolution, Separable)):
        return NO_HALO
    ends = (tensor_of(0, shape) for shape in (graph.node(node.inputs[0]).shape, node.shape))
    return border_around(node.operation, *ends)


def tensor_of(buffer: int, shape: Shape) -> Tensor:
    """A tensor of any rank as height x width x channels: leading axes together, the last two."""
    *leading, width, channels = (1, 1, *shape)
    return Tensor(buffer, math.prod(leading), width, channels)


def stages_of(
    number: int, node: Node, read: tuple[Tensor, ...], result: Tensor, spare: int
) -> list[Stage]:
    """The stages of one node; ``spare`` numbers a buffer that only these know."""
    operation = node.operation
    plain = PlainStage((number,), read, result, operation, weights=node.parameters)
    if node.read:  # another output of a layer with several: none of the tensors here
        return [plain]
    match operation:
        case Convolution() | Separable():
            return convolution_stages(number, operation, read[0], result, spare)
        case Normalize(kind="batch", mean=int(mean), variance=int(variance)):
            scales = (operation.gamma, operation.beta, mean, variance, operation.epsilon)
            moments = Moments(result.channels, *scales)
            kept = (operation.momentum, operation.frozen)
            return [BatchNormalizationStage((number,), read[0], result, moments, *kept)]
        case Reduce(axes=axes):
            left = _left(read[0], axes, result.buffer)
            if left == result:
                return [plain]
            left = replace(left, buffer=spare)
            shaped = PlainStage((number,), (left,), result, Reshape(), part=1)
            return [replace(plain, output=left), shaped]
        case Dense() if len(node.shape) == 1:
            weights = (operation.kernel, operation.bias, operation.activation)
            return [DenseStage((number,), read[0], result, *weights)]
        case Dense():  # at every place, as a convolution of one tap
            weights = (operation.kernel, operation.bias, operation.activation)
            return [ConvolutionStage((number,), read[0], result, *weights, *ONE_TAP)]
    return [plain]


def _left(read: Tensor, axes: tuple[int, ...], buffer: int) -> Tensor:
    """What is left of a tensor where values along ``axes`` have become one."""
    sizes = zip((-3, -2, -1), (read.height, read.width, read.channels), strict=True)
    height, width, channels = (1 if axis in axes else size for axis, size in sizes)
    return Tensor(buffer, height, width, channels)
