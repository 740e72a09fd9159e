"""A stopwatch around kernels, for programs that are built to be measured.

Ticks are those of the processor's own counter, of a fixed rate; every launch of a step has a place
in one array of the module, and the whole run has the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.lang import I64, Emitter
from convmill.lower.launches import Launch, Step
from convmill.lower.machine import Machine

ARRAY, READER = "ticks", "now"
# The other counter of Arm's processors is the system's alone.
COUNTERS = {"x86_64": "llvm.readcyclecounter", "aarch64": "llvm.readsteadycounter"}


def places(step: Step) -> dict[Launch, int]:
    """The place of each launch of a step; the whole run has the one behind them."""
    return {launch: place for place, launch in enumerate(dict.fromkeys(step.launches()))}


@contextmanager
def counted(e: Emitter, machine: Machine, place: int, count: int) -> Iterator[None]:
    """What is emitted within adds its ticks to those of ``place``, of so many."""
    b = e.builder
    now = e.declare(COUNTERS[machine.architecture], I64, [])
    start = b.call(now, [])
    yield
    spent = b.sub(b.call(now, []), start)
    if ARRAY not in e.module.globals:
        ir.Array(e.module, ir.Constant(ir.ArrayType(I64, count), None), ARRAY, exported=True)
    b.atomic_rmw("add", e.at(e.module.globals[ARRAY], place, I64), spent, "monotonic")


def reader(machine: Machine) -> str:
    """The text of a module with one function, ``i64 now()``: the counter."""
    counter = COUNTERS[machine.architecture]
    return (
        f"declare i64 @{counter}()\n"
        f"define i64 @{READER}() {{\n  %now = call i64 @{counter}()\n  ret i64 %now\n}}\n"
    )
