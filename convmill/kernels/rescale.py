"""Scale and shift by constants: one for all values, or for each channel or place."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.broadcast import Pattern
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.groups import Groups, Place, offset
from convmill.kernels.lang import Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import Affine, Rescale


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x scale + offset."""
    read, written = (value(site.stage.input),), (value(site.stage.output),)
    return [Launch("rescale.forward", site.of, Images(), read, written)]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = gradient of y scale."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output),), (gradient(site.stage.input),)
    return [Launch("rescale.backward", site.of, Images(), read, written)]


def write(k: Kernel) -> None:
    """target = source scale + offset, a vector at a time; gradients by the scale alone."""
    stage, is_backward = k.stage(PlainStage), k.launch.kernel == "rescale.backward"
    tensors = (stage.output, stage.input) if is_backward else (stage.input, stage.output)
    (read,), (written,) = k.launch.reads, k.launch.writes
    source, target = k.pointer(read), k.pointer(written)
    if isinstance(stage.operation, Affine):
        _write_by_place(k, stage.operation, (source, target), is_backward=is_backward)
        return
    assert isinstance(stage.operation, Rescale)
    factor = k.constant(stage.operation.scale)
    rest = k.constant(0.0 if is_backward else stage.operation.offset)

    def one(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(k.fma(k.load(source, a, count), factor, rest), target, b, count)

    rows(k, *tensors, one)


def _write_by_place(
    k: Kernel, operation: Affine, ends: tuple[ir.Value, ir.Value], *, is_backward: bool
) -> None:
    """(source - shift) scale + offset, of each place its own."""
    stage, (source, target) = k.stage(PlainStage), ends
    pattern = Pattern(stage.input, *operation.sizes)
    here, there = (stage.output, stage.input) if is_backward else (stage.input, stage.output)
    tables = [
        k.table(constants) for constants in (operation.shift, operation.scale, operation.offset)
    ]

    def one(place: Place, count: int) -> None:
        shift, scale, rest = (pattern.load(k, table, place, count) for table in tables)
        found = k.load(source, offset(k, here, place), count)
        if is_backward:
            found = k.builder.fmul(found, scale)
        else:
            found = k.fma(k.builder.fsub(found, shift), scale, rest)
        k.store(found, target, offset(k, there, place), count)

    Groups(stage.input, (-3, -2, -1)).each(k, lambda group: group.values(one))


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"rescale.forward": write, "rescale.backward": write},
    words=lambda stage: "rescale",
)
