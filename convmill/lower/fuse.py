"""From a Graph to fused stages, by named passes in order.

expand          one stage per node; Flatten becomes another view of the same buffer
fuse_activation convolution -> Activation          =>  convolution with an activation
fuse_pooling    convolution -> max pooling         =>  convolution that keeps one byte per window
split_activation  activations that no kernel fuses =>  a stage of their own
place_halos     padding of a reader                =>  a border of zeros around its input's buffer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convmill.lower.schedule import takes_winograd
from convmill.lower.stages import (
    ActivationStage,
    ConvolutionStage,
    DenseStage,
    DropoutStage,
    Matrix,
    Network,
    PoolingStage,
    RescaleStage,
    Stage,
    Tensor,
)
from convmill.plan.algorithms import FUSABLE, is_fused_window
from convmill.plan.graph import (
    LINEAR,
    Activate,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Node,
    NotCovered,
    Pooling,
    Rescale,
    Shape,
)
from convmill.plan.recipe import Recipe

ALIGNMENT = 16  # float32 elements: one cache line


def lower(graph: Graph, recipe: Recipe | None, lanes: int) -> Network:
    """The Network of a graph for vectors of ``lanes`` float32.

    Raises NotCovered where nothing is left to compute.
    """
    stages: list[Stage] = expand(graph)
    if not stages:
        raise NotCovered("the model computes nothing", "add a layer such as Dense or Conv2D")
    for fuse in (fuse_activation, split_activation, fuse_pooling, place_halos):
        stages = fuse(stages)
    matrices, elements, packed = place_parameters(graph, stages, lanes)
    return Network(graph, recipe, tuple(stages), matrices, elements, packed)


def expand(graph: Graph) -> list[Stage]:
    """One stage for each node that computes; nodes must form a chain."""
    stages: list[Stage] = []
    source = tensor_of(graph.nodes[0].name, graph.nodes[0].shape)
    for before, node in zip(graph.nodes, graph.nodes[1:], strict=False):
        if node.inputs != (before.name,):
            raise NotCovered(f"node {node.name!r} is not part of a chain", "")
        if isinstance(node.operation, Flatten):
            source = replace(source, height=1, width=1, channels=source.values)
            continue
        result = tensor_of(node.name, node.shape)
        stages.append(stage_of(node, source, result))
        source = result
    return stages


def tensor_of(name: str, shape: Shape) -> Tensor:
    """A tensor of any rank as height x width x channels."""
    if len(shape) == 3:
        return Tensor(name, shape[0], shape[1], shape[2])
    values = 1
    for size in shape:
        values *= size
    return Tensor(name, 1, 1, values)


def stage_of(node: Node, source: Tensor, result: Tensor) -> Stage:
    """The stage of one node."""
    name, operation = node.name, node.operation
    match operation:
        case Convolution():
            padded = source.padded(operation.padding)
            return ConvolutionStage(
                name,
                padded,
                result,
                operation.kernel_size,
                operation.strides,
                operation.kernel,
                operation.bias,
                operation.activation,
            )
        case Pooling():
            corner = (operation.padding[0], operation.padding[2])
            return PoolingStage(
                name,
                source,
                result,
                operation.kind,
                operation.pool_size,
                operation.strides,
                corner,
                shares_ties=operation.kind == "max" and operation.ties == "share",
            )
        case Dense():
            return DenseStage(
                name, source, result, operation.kernel, operation.bias, operation.activation
            )
        case Dropout():
            return DropoutStage(name, source, result, operation.rate, operation.seed)
        case Activate():
            return ActivationStage(name, source, result, operation.activation)
        case Rescale():
            return RescaleStage(name, source, result, operation.scale, operation.offset)
        case _:
            raise AssertionError(f"{name!r} is not computed in a stage: {operation}")


def fuse_activation(stages: Sequence[Stage]) -> list[Stage]:
    """[conv linear, activation f] => [conv f] for an f that kernels fuse; Dense likewise."""
    fused: list[Stage] = []
    for stage in stages:
        before = fused[-1] if fused else None
        if (
            isinstance(stage, ActivationStage)
            and isinstance(before, (ConvolutionStage, DenseStage))
            and before.activation == LINEAR
            and stage.activation.name in FUSABLE
        ):
            fused[-1] = replace(
                before,
                activation=stage.activation,
                output=stage.output,
                fused=(*before.fused, stage.name),
            )
        else:
            fused.append(stage)
    return fused


def split_activation(stages: Sequence[Stage]) -> list[Stage]:
    """[conv softmax] => [conv linear, softmax]: the derivative needs more than the output."""
    split: list[Stage] = []
    for stage in stages:
        if isinstance(stage, (ConvolutionStage, DenseStage)) and (
            stage.activation.name not in FUSABLE
        ):
            middle = replace(stage.output, buffer=f"{stage.name}/linear")
            split.append(replace(stage, activation=LINEAR, output=middle))
            split.append(
                ActivationStage(
                    f"{stage.name}/{stage.activation.name}", middle, stage.output, stage.activation
                )
            )
        else:
            split.append(stage)
    return split


def fuse_pooling(stages: Sequence[Stage]) -> list[Stage]:
    """[conv, max pooling without overlap] => [conv with pool]: the backward pass turns sparse."""
    fused: list[Stage] = []
    for stage in stages:
        before = fused[-1] if fused else None
        if (
            isinstance(stage, PoolingStage)
            and isinstance(before, ConvolutionStage)
            and not before.pooled
            and can_fuse(stage)
        ):
            fused[-1] = replace(
                before,
                pool=stage.pool_size,
                output=stage.output,
                fused=(*before.fused, stage.name),
            )
        else:
            fused.append(stage)
    return fused


def can_fuse(stage: PoolingStage) -> bool:
    """Whether pooling takes the maximum of whole windows that do not overlap."""
    height, width = stage.pool_size
    fits = (
        stage.output.height * height <= stage.input.height
        and stage.output.width * width <= stage.input.width
    )
    return (
        stage.kind == "max"
        and not stage.shares_ties
        and fits
        and is_fused_window(stage.pool_size, stage.strides, stage.padding)
    )


def place_halos(stages: Sequence[Stage]) -> list[Stage]:
    """Give every writer and reader of a buffer the border that its convolution wants."""
    halos = {
        stage.input.buffer: stage.input.halo
        for stage in stages
        if isinstance(stage, ConvolutionStage)
    }

    def with_halo(tensor: Tensor) -> Tensor:
        return tensor.padded(halos.get(tensor.buffer, (0, 0, 0, 0)))

    return [
        replace(stage, input=with_halo(stage.input), output=with_halo(stage.output))
        for stage in stages
    ]


def place_parameters(
    graph: Graph, stages: Sequence[Stage], lanes: int
) -> tuple[tuple[Matrix, ...], int, int]:
    """Parameters as matrices, one behind the other; kernels also get a transposed copy."""
    dense = {stage.kernel for stage in stages if isinstance(stage, DenseStage)}
    transformed = {
        stage.kernel: stage.input.channels
        for stage in stages
        if isinstance(stage, ConvolutionStage) and takes_winograd(stage)
    }
    matrices, offset, packed = [], 0, 0
    for index, parameter in enumerate(graph.parameters):
        shape = parameter.shape
        if index in dense:
            rows, columns = shape
        elif len(shape) == 4:
            rows, columns = shape[3], shape[0] * shape[1] * shape[2]
        else:
            rows, columns = 1, shape[0]
        has_pack = rows > 1 or len(shape) > 1
        pack_row = round_up(rows, lanes) if has_pack else 0
        pack, winograd = packed if has_pack else None, None
        packed = round_up(packed + columns * pack_row, ALIGNMENT)
        if index in transformed:
            winograd = packed
            packed = round_up(packed + 16 * transformed[index] * pack_row, ALIGNMENT)
        matrices.append(
            Matrix(
                index,
                offset,
                rows,
                columns,
                parameter.trainable,
                parameter.regularizer,
                parameter.decays,
                pack,
                pack_row,
                winograd,
            )
        )
        offset = round_up(offset + rows * columns, ALIGNMENT)
    return tuple(matrices), offset, packed


def round_up(value: int, multiple: int) -> int:
    """The next multiple of ``multiple``."""
    return -(-value // multiple) * multiple
