"""What emitting functions share: the lowered net, the group of images at hand, slots of records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from convmill.kernels.context import field
from convmill.kernels.lang import I8, Emitter, Index
from convmill.lower.buffers import Layout
from convmill.lower.machine import Machine
from convmill.lower.stages import Network, Stage


@dataclass(frozen=True)
class Build:
    """What every emitting function needs: the module being filled and the lowered net."""

    module: ir.Module
    network: Network
    layout: Layout
    machine: Machine
    training: bool


@dataclass(frozen=True)
class Group:
    """A group of images inside the function being written: where their records start, how many
    they are, where they stand in the batch and in the order of all images, the step, the loss'
    factor, and memory of this thread alone."""

    e: Emitter
    context: ir.Value
    records: ir.Value
    images: Index
    in_batch: Index
    position: Index
    step: Index
    scale: ir.Value
    scratch: ir.Value


Kernel = Callable[[Group], None]


def slot(build: Build, record: ir.Value, name: str, e: Emitter) -> ir.Value:
    """Address of a slot of the record; any address where the slot is not kept."""
    known = build.layout.slots.get(name)
    return record if known is None else e.at(record, known.offset, I8)


def each_image(build: Build, group: Group, body: Callable[[Index, ir.Value], None]) -> None:
    """``body(number in the group, record)`` for each image."""
    e = group.e
    with e.loop(0, group.images) as image:
        body(image, e.at(group.records, e.mul(image, build.layout.length), I8))


def parameter(build: Build, e: Emitter, base: ir.Value, index: int | None) -> ir.Value:
    """Address of a parameter (or its gradient) in a flat array; any address for None."""
    return base if index is None else e.at(base, build.network.matrices[index].offset)


def pack(build: Build, e: Emitter, context: ir.Value, index: int) -> ir.Value:
    """Address of a parameter's transposed copy."""
    place = build.network.matrices[index].pack
    assert place is not None
    return e.at(field(e, context, "packs"), place)


def keeps(build: Build, name: str) -> bool:
    """Whether the record has this slot."""
    return name in build.layout.slots


def value_slots(stage: Stage, *more: str) -> list[str]:
    """Slots of a stage's input and output values."""
    return [f"value/{stage.input.buffer}", f"value/{stage.output.buffer}", *more]


def on_slots(build: Build, kernel: ir.Function, names: list[str]) -> Kernel:
    """Call a kernel whose arguments are slots of the record, for each image."""

    def run(group: Group) -> None:
        e = group.e
        each_image(
            build,
            group,
            lambda _, record: e.call(kernel, *(slot(build, record, name, e) for name in names)),
        )

    return run
