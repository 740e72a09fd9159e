"""Tensors behind one another along one axis: blocks of neighbours are copied, and gradients back.

Tensors are rows x columns x channels inside their borders.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import Concatenate


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = the inputs behind one another."""
    stage = site.stage
    read = tuple(dict.fromkeys(value(tensor) for tensor in stage.inputs))
    return [Launch("concatenate.forward", site.of, Images(), read, (value(stage.output),))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """Each input's own part of the gradient, where it is wanted."""
    stage = site.stage
    written = tuple(
        gradient(tensor)
        for tensor, is_wanted in zip(stage.inputs, site.gradients.inputs, strict=True)
        if is_wanted
    )
    read = (gradient(stage.output),)
    return [Launch("concatenate.backward", site.of, Images(), read, written)] if written else []


def write_forward(k: Kernel) -> None:
    """Copies every input to its place."""
    stage = k.stage(PlainStage)
    y = k.pointer(value(stage.output))
    for tensor, origin in zip(stage.inputs, _origins(stage), strict=True):
        _copy(k, tensor, k.pointer(value(tensor)), tensor.origin, y, origin, stage.output)


def write_backward(k: Kernel) -> None:
    """Copies every part of the gradient back."""
    stage = k.stage(PlainStage)
    behind = k.pointer(gradient(stage.output))
    for tensor, origin in zip(stage.inputs, _origins(stage), strict=True):
        if gradient(tensor) in k.launch.writes:
            result = k.pointer(gradient(tensor))
            _copy(k, tensor, behind, origin, result, tensor.origin, stage.output, back=True)


def _origins(stage: PlainStage) -> list[int]:
    """Offsets in the output of the first value of each input."""
    operation, output = stage.operation, stage.output
    assert isinstance(operation, Concatenate)
    found, place = [], output.origin
    for tensor in stage.inputs:
        found.append(place)
        place += {
            -1: tensor.channels,
            -2: tensor.width * output.channels,
            -3: tensor.height * output.row,
        }[operation.axis]
    return found


def _copy(
    k: Kernel,
    part: Tensor,
    source: ir.Value,
    start: int,
    target: ir.Value,
    goal: int,
    whole: Tensor,
    back: bool = False,
) -> None:
    """Copies what ``part`` holds, between its own memory and its place in the ``whole``."""
    from_, to = (whole, part) if back else (part, whole)
    together = part.channels == whole.channels  # then whole rows are neighbours in both
    columns, length = (1, part.width * part.channels) if together else (part.width, part.channels)
    with k.loop(0, part.height) as row, k.loop(0, columns) as column:
        here = k.add(start, k.mul(row, from_.row), k.mul(column, from_.channels))
        there = k.add(goal, k.mul(row, to.row), k.mul(column, to.channels))

        def one(at: Index, count: int) -> None:
            k.store(k.load(source, k.add(here, at), count), target, k.add(there, at), count)

        k.vectors(length, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"concatenate.forward": write_forward, "concatenate.backward": write_backward},
    words=lambda stage: "concatenate",
)
