"""Passes that give every tensor its border and every parameter its place.

    place_halos        padding of a convolution  =>  a border of zeros around the buffer it reads
    place_statistics   batch normalization   =>  rows for what belongs to a channel
    place_parameters   parameters of the graph   =>  matrices behind one another, with their copies
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from convmill.lower.choices import Filtering, Winograd
from convmill.lower.lines import round_up, spaced
from convmill.lower.network import Copy, Matrix
from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DenseStage,
    DepthwiseStage,
    PlainStage,
    Stage,
    TransposedStage,
    WeightedStage,
)
from convmill.lower.tensors import ALIGNMENT, NO_HALO, Halo, Tensor
from convmill.plan.graph.parameters import Parameter
from convmill.plan.graph.shapes import Shape


def place_halos(
    stages: Sequence[Stage], ends: Sequence[Tensor]
) -> tuple[list[Stage], tuple[Tensor, ...]]:
    """Every writer and reader of a buffer gets the largest border that a convolution wants, and so
    do the ``ends``, which the net reads into or hands out."""
    halos: dict[int, Halo] = {}
    for stage in stages:
        for tensor in stage.inputs:
            halos[tensor.buffer] = _larger(halos.get(tensor.buffer, NO_HALO), tensor.halo)
    bordered = tuple(one.padded(halos.get(one.buffer, NO_HALO)) for one in ends)
    return [_with_halos(stage, halos) for stage in stages], bordered


def _larger(a: Halo, b: Halo) -> Halo:
    return max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _with_halos(stage: Stage, halos: dict[int, Halo]) -> Stage:
    output = stage.output.padded(halos.get(stage.output.buffer, NO_HALO))
    if isinstance(stage, PlainStage):
        read = tuple(one.padded(halos.get(one.buffer, NO_HALO)) for one in stage.inputs)
        return replace(stage, inputs=read, output=output)
    source = stage.input.padded(halos.get(stage.input.buffer, NO_HALO))
    return replace(stage, input=source, output=output)


def place_statistics(stages: Sequence[Stage]) -> tuple[list[Stage], int]:
    """Stages with the places of what belongs to their channels, and the float32 elements of all."""
    placed, elements = list[Stage](), 0
    for stage in stages:
        if isinstance(stage, BatchNormalizationStage):
            stage = replace(stage, moments=replace(stage.moments, place=elements))
            elements += 6 * stage.moments.row
        elif isinstance(stage, WeightedStage) and stage.folded is not None:
            stage = replace(stage, folded=replace(stage.folded, place=elements))
            elements += 6 * stage.folded.row if stage.folded is not None else 0
        placed.append(stage)
    return placed, elements


def place_parameters(
    parameters: Sequence[Parameter], stages: Sequence[Stage], lanes: int
) -> tuple[tuple[Matrix, ...], int, int]:
    """Parameters as matrices, one behind the other; kernels also get a transposed copy. Returns
    the matrices, and the float32 elements of all of them and of all copies."""
    readers: dict[int, list[Stage]] = {}
    for stage in stages:
        for index in stage.parameters:
            readers.setdefault(index, []).append(stage)
    matrices: list[Matrix] = []
    offset, packed = 0, 0
    for index, parameter in enumerate(parameters):
        shape, axes = parameter.shape, tuple(range(len(parameter.shape)))
        uses = [
            stage
            for stage in readers.get(index, [])
            if isinstance(stage, WeightedStage) and index == stage.kernel
        ]
        is_kernel = bool(uses) and not isinstance(uses[0], DepthwiseStage)  # that has no copies
        if uses:
            axes = _held(axes, uses[0])
        rows, columns = _sizes(shape, axes, is_kernel)
        matrix = Matrix(
            index,
            shape,
            axes,
            offset,
            rows,
            columns,
            parameter.trainable,
            parameter.regularizer,
            parameter.decays,
            parameter.constraint,
        )
        if is_kernel and not any(_reads_panels(stage) for stage in uses):
            matrix, packed = _with_copies(matrix, uses, lanes, packed)
        matrices.append(matrix)
        offset = round_up(offset + matrix.size, ALIGNMENT)
    return tuple(matrices), offset, packed


def _held(axes: tuple[int, ...], stage: WeightedStage) -> tuple[int, ...]:
    """The axes of Keras' kernel in the order in which those of ``stage`` hold them."""
    match stage:
        case ConvolutionStage():
            return (axes[-1], *axes[:-1])
        case TransposedStage():
            return (axes[-2], *axes[:-2], axes[-1])
        case DepthwiseStage():
            return (*axes[:-2], axes[-1], axes[-2])
    return axes


def _sizes(shape: Shape, axes: tuple[int, ...], is_kernel: bool) -> tuple[int, int]:
    """Rows and columns: a kernel's first axis, as it is held, counts its rows."""
    total = 1
    for size in shape:
        total *= size
    if not is_kernel:
        return 1, total
    rows = shape[axes[0]]
    return rows, total // rows


def _reads_panels(stage: Stage) -> bool:
    """Whether a dense layer turns its weights itself."""
    return isinstance(stage, DenseStage) and bool(stage.choice and stage.choice.panel)


def _with_copies(
    matrix: Matrix, uses: Sequence[WeightedStage], lanes: int, packed: int
) -> tuple[Matrix, int]:
    """A kernel with the place of its transposed copy, and of Winograd's transforms behind it where
    they are read; and the float32 elements of all copies so far."""
    tall = all(isinstance(stage, ConvolutionStage) and stage.groups == 1 for stage in uses)
    pack, packed = _copy((matrix.rows, matrix.columns), lanes, packed, tall)
    choices = [stage.choice for stage in uses if isinstance(stage, ConvolutionStage)]
    forward = _filtering(one.forward for one in choices if one)
    back = _filtering(one.input_gradient for one in choices if one)
    transform = turned = None
    if forward is not None:
        sizes = (matrix.rows, matrix.columns // forward.kernel**2)
        transform, packed = _copy(sizes, lanes, packed, True, forward)
    if back is not None:
        sizes = (matrix.columns // back.kernel**2, matrix.rows)
        turned, packed = _copy(sizes, lanes, packed, True, back)
    return replace(matrix, pack=pack, transform=transform, turned=turned), packed


def _copy(
    sizes: tuple[int, int],
    lanes: int,
    start: int,
    tall: bool,
    filtering: Filtering | None = None,
) -> tuple[Copy, int]:
    """A copy of so many rows and columns from ``start`` on, and where what follows begins. ``tall``
    ones have the columns of a vector of rows one behind the other, as those who multiply by them
    read them; in the others all rows of a column lie side by side."""
    rows, columns = sizes
    vectors = -(-rows // lanes)
    column, vector = (lanes, spaced(columns * lanes)) if tall else (vectors * lanes, lanes)
    size = vectors * vector if tall else columns * column
    point = 0 if filtering is None else spaced(size)
    every = size if filtering is None else filtering.points * point
    copy = Copy(start, every, column, vector, filtering, point)
    return copy, round_up(start + every, ALIGNMENT)


def _filtering(choices: Iterable[object]) -> Filtering | None:
    """Minimal filtering among choices: that of stages that share a kernel is the same."""
    return next((one.filtering for one in choices if isinstance(one, Winograd)), None)
