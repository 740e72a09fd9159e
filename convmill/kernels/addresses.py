"""Where a slot lies, as an address: in an image's record, in a thread's own memory, among the sums
of a slice, or in an array that the context names."""

from __future__ import annotations

from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Build
from convmill.kernels.context import field
from convmill.kernels.lang import F32, I8, Emitter, Index
from convmill.lower.fields import POINTERS
from convmill.lower.launches import Slot
from convmill.lower.network import COPIES, Matrix


@dataclass(frozen=True)
class Bases:
    """Addresses from which slots are counted inside a function: the context, the records of the
    first image at hand, the thread's own memory (None where no image is computed), and the sums of
    the slice at hand (None where there is none)."""

    context: ir.Value
    records: ir.Value
    own: ir.Value | None = None
    sums: ir.Value | None = None


def address(build: Build, e: Emitter, bases: Bases, slot: Slot, image: Index = 0) -> ir.Value:
    """Address of a slot; of what images have, that of the ``image``-th one at hand.

    Raises KeyError for a slot that has no place.
    """
    if slot.home == "batch":
        return _of_batch(build, e, bases.context, slot)
    place = build.memory.places[slot.name]
    base = {"image": bases.records, "thread": bases.own, "slice": bases.sums}[place.home]
    assert base is not None, f"there is no {place.home} to have {slot.name}"
    return e.at(base, e.add(place.offset, e.mul(image, build.memory.stride(slot.name))), I8)


def _of_batch(build: Build, e: Emitter, context: ir.Value, slot: Slot) -> ir.Value:
    """Address of what there is one of: the caller's arrays by their names, or a parameter's part of
    an array."""
    if slot.name in POINTERS:
        return field(e, context, slot.name)
    kind, _, number = slot.name.partition("/")
    if kind == "statistics":
        return e.at(field(e, context, kind), int(number), F32)
    array, offset = _part(kind, build.network.matrices[int(number)])
    return e.at(field(e, context, array), offset, F32)


def _part(kind: str, matrix: Matrix) -> tuple[str, int]:
    """Array and offset, in float32 elements, of what a parameter has of a kind."""
    if kind in COPIES:
        return "packs", matrix.copy(kind).start
    places = {
        "parameter": ("parameters", matrix.offset),
        "gradient_of": ("gradients", matrix.offset),
        "state": ("slots", matrix.offset),
        "norm": ("norms", matrix.index),
    }
    return places[kind]
