"""Where everything lies: the record of one image, and the fields of the context.

A record holds all that one image leaves behind in a step: each tensor's values and gradients, the
argmax of each pooling window, and for each convolution the lists of live places. Images of a batch
have one record each, so that every image is computed alone and the order of threads cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.lower.machine import Machine
from convmill.lower.schedule import is_narrow, takes_winograd, winograd_scratch
from convmill.lower.stages import ConvolutionStage, Network, PoolingStage, Stage

CACHE_LINE = 64


@dataclass(frozen=True)
class Slot:
    """A part of a record: byte offset and length."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class Layout:
    """The record of one image: its slots by name, and its length in bytes."""

    slots: dict[str, Slot]
    length: int

    def at(self, name: str) -> int:
        """Byte offset of a slot."""
        return self.slots[name].offset


def layout_of(network: Network, training: bool, guard: int = 0) -> Layout:
    """Lay out the record; ``guard`` bytes of no use follow each slot (tests watch them).

    Slots: ``value/BUFFER`` and ``gradient/BUFFER`` (float32), ``argmax/STAGE`` (one byte or one
    int32 a window), ``live/STAGE/gradient`` (float32), ``live/STAGE/offset`` (int32), both
    filters x places, and ``live/STAGE/count`` (int32 a filter).
    """
    wanted: dict[str, int] = {}
    tensors = [network.input, *(stage.output for stage in network.stages)]
    for tensor in tensors:
        wanted[f"value/{tensor.buffer}"] = 4 * tensor.size
    if training:
        for index, stage in enumerate(network.stages):
            if index >= network.first_backward:
                wanted.update(backward_slots(network, index, stage))
    slots, offset = {}, 0
    for name, length in wanted.items():
        slots[name] = Slot(name, offset, length)
        offset += -(-(length + guard) // CACHE_LINE) * CACHE_LINE
    return Layout(slots, offset)


def backward_slots(network: Network, index: int, stage: Stage) -> dict[str, int]:
    """What the backward pass of one stage keeps, in bytes by slot name."""
    wanted = {f"gradient/{stage.output.buffer}": 4 * stage.output.size}
    if index > network.first_backward:
        wanted[f"gradient/{stage.input.buffer}"] = 4 * stage.input.size
    if isinstance(stage, PoolingStage) and stage.kind == "max" and not stage.shares_ties:
        wanted[f"argmax/{stage.name}"] = 4 * stage.output.values
    if isinstance(stage, ConvolutionStage):
        if stage.pooled:
            wanted[f"argmax/{stage.name}"] = stage.output.values
        if index == network.first_backward and is_narrow(stage):
            return wanted
        entries = stage.output.channels * stage.places
        wanted[f"live/{stage.name}/gradient"] = 4 * entries
        wanted[f"live/{stage.name}/offset"] = 4 * entries
        wanted[f"live/{stage.name}/count"] = 4 * stage.output.channels
    return wanted


def scratch_elements(network: Network, machine: Machine) -> int:
    """Float32 elements of scratch that one thread needs, in whole cache lines."""
    most = max(
        (
            winograd_scratch(stage, machine)
            for stage in network.stages
            if isinstance(stage, ConvolutionStage) and takes_winograd(stage)
        ),
        default=0,
    )
    return -(-most * 4 // CACHE_LINE) * CACHE_LINE // 4


# Fields of the context, eight bytes each: addresses, or 64-bit integers.
POINTERS = (
    "images",
    "labels",
    "weights",
    "order",
    "parameters",
    "packs",
    "gradients",
    "slots",
    "records",
    "hyper",
    "losses",
    "correct",
    "outputs",
    "penalties",
    "norms",
    "seeds",
    "scratch",
)
NUMBERS = (
    "image_stride",
    "image_type",
    "positions",
    "batch_size",
    "first_step",
    "last_step",
    "threads",
    "iterations",
    "has_labels",
    "has_outputs",
)
# Written by several threads, each on a cache line of its own.
SHARED = ("counter", "arrived", "generation", "stop", "stopping", "finished")
FIELDS = (*POINTERS, *NUMBERS)
IMAGE_TYPES = ("uint8", "float32", "float64")


def field_offset(name: str) -> int:
    """Byte offset of a field of the context."""
    if name in SHARED:
        start = -(-len(FIELDS) * 8 // CACHE_LINE) * CACHE_LINE
        return start + SHARED.index(name) * CACHE_LINE
    return FIELDS.index(name) * 8


CONTEXT_BYTES = field_offset(SHARED[-1]) + CACHE_LINE
