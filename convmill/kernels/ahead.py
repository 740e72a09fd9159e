"""Cache lines that are asked for ahead, while something is computed that waits for no memory."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, I8, I32, POINTER, VOID, Emitter, Index, blocks
from convmill.lower.launches import Slot
from convmill.lower.lines import CACHE_LINE


def nothing() -> None:
    """Asks for no memory."""


def claimed(k: Kernel, slot: Slot | None, image: Index, turns: int) -> Callable[[], None]:
    """What is called ``turns`` times before the ``image``-th one's ``slot`` is written, each time
    for the same part of it, and asks for the lines to write: where a later phase reads the slot, it
    lies behind the caches, and a store there waits for what nobody is going to read. Nothing is
    asked for where there is no such slot."""
    if slot is None or k.build.memory.places[slot.name].home != "image":
        return nothing
    record, part = k.record(slot, image), blocks(slot.bytes, turns)
    turn = k.variable(k.index(0))

    def ask() -> None:
        here = k.get(turn)
        for away in range(0, part, CACHE_LINE):
            prefetch(k, record, k.add(k.mul(here, part), away), I8, written=True)
        k.set(turn, k.index(k.add(here, 1)))

    return ask


def prefetch(
    e: Emitter, pointer: ir.Value, offset: Index, element: ir.Type = F32, *, written: bool = False
) -> None:
    """Asks for a cache line that is soon read, or ``written``. It may lie behind the end: that does
    no harm."""
    function = e.declare("llvm.prefetch.p0", VOID, [POINTER, I32, I32, I32])
    how = [ir.Constant(I32, number) for number in (int(written), 3, 1)]  # it stays, is data
    line = e.builder.gep(pointer, e.index(offset), element, inside=False)
    e.builder.call(function, [line, *how])
