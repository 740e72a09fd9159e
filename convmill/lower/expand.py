"""The first pass: from a graph's nodes to stages, mostly one each.

    Conv2D, relu     =>  [convolution relu]
    SeparableConv2D  =>  [depthwise] -> [convolution 1x1]
    Flatten          =>  another view of the same buffer, and no stage
    anything else    =>  [a plain stage], whether it can be compiled or not

Nodes, and with them buffers, are numbered in the graph's order: no name goes further.
"""

from __future__ import annotations

import math
from dataclasses import replace

from convmill.lower.convolutions import convolution_stages
from convmill.lower.stages import (
    DenseStage,
    PlainStage,
    Stage,
    Tensor,
)
from convmill.plan.graph import (
    Convolution,
    Dense,
    Flatten,
    Graph,
    Input,
    Node,
    Separable,
    Shape,
)


def expand(graph: Graph) -> tuple[list[Stage], dict[str, Tensor]]:
    """Stages in the graph's order, and the tensor that holds each node's output."""
    stages: list[Stage] = []
    written: dict[str, Tensor] = {}
    for number, node in enumerate(graph.nodes):
        if isinstance(node.operation, Input):
            written[node.name] = tensor_of(number, node.shape)
        elif isinstance(node.operation, Flatten):
            source = written[node.inputs[0]]
            view = replace(source, height=1, width=1, channels=source.values)
            written[node.name] = view
        else:
            read = tuple(written[name] for name in node.inputs)
            written[node.name] = tensor_of(number, node.shape)
            spare = len(graph.nodes) + number
            stages += stages_of(number, node, read, written[node.name], spare)
    return stages, written


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
        case Convolution(transposed=False) | Separable():
            return convolution_stages(number, operation, read[0], result, spare)
        case Dense() if len(node.shape) == 1:
            weights = (operation.kernel, operation.bias, operation.activation)
            return [DenseStage((number,), read[0], result, *weights)]
    return [plain]
