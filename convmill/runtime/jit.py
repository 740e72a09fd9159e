"""From a module of kernels to native code in this process."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as once
from functools import cached_property, lru_cache

import llvmlite.binding as llvm
import numpy as np

from convmill.kernels.run import ENTRY, build_program
from convmill.kernels.steps import inference_step, training_step
from convmill.kernels.ticks import ARRAY, places
from convmill.lower import spec
from convmill.lower.launches import Step
from convmill.lower.lifetimes import Memory, place_slots
from convmill.lower.machine import Machine
from convmill.lower.network import Network
from convmill.lower.text import step_text
from convmill.runtime import cache, debug, host, kept, machine_code, reserve
from convmill.threads import lock_over_forks

NATIVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
# One net is compiled at a time, by all cores.
_COMPILING = lock_over_forks()
PARTS = 4  # of a module for each core: who is done first takes another
KEPT = 64  # networks whose native code stays in memory, the last used


@dataclass(frozen=True, eq=False)
class Compiled:
    """Native code of one program: ``entry(context address, thread)``, the memory and the machine
    that it was made for, whether it was ``kept`` on disk, and the seconds to build the IR and to
    compile it (or to load it). ``ticks`` int64 has those of each launch, and last those of all,
    since somebody set them to 0; empty where nothing is ``timed``."""

    entry: Callable[[int, int], None]
    memory: Memory
    machine: Machine
    kept: bool
    build_seconds: float
    compile_seconds: float
    ticks: np.ndarray
    _plan: Callable[[], tuple[Step, Memory]] = field(repr=False)
    _write: Callable[[], str] = field(repr=False)
    _engine: llvm.ExecutionEngine = field(repr=False)

    @cached_property
    def step(self) -> Step:
        """The step that it was made for, planned again where code came from the disk."""
        return self._plan()[0]

    @cached_property
    def source(self) -> str:
        """LLVM IR before optimization, written again: here each launch has a function."""
        return self._write()

    @cached_property
    def optimized(self) -> str:
        """LLVM IR after optimization."""
        with _COMPILING:
            target = machine_code.target_machine(self.machine)
            return str(machine_code.optimized(self.source, target))

    @cached_property
    def assembly(self) -> str:
        """The processor's instructions, as text."""
        with _COMPILING:
            target = machine_code.target_machine(self.machine)
            return machine_code.assembly(self.optimized, target)


@lru_cache(maxsize=KEPT)
def compiled(network: Network, machine: Machine, training: bool, guard: int = 0) -> Compiled:
    """Native code for a network, built once in a process: equal networks share it.

    Raises NotCovered where LLVM refuses what our kernels say.
    """
    with _COMPILING:  # who waits here while an equal network is compiled finds it done
        return _built(network, machine, training, guard)


def timed(network: Network, machine: Machine, training: bool, guard: int = 0) -> Compiled:
    """Native code with a stopwatch around each launch: nobody else's, and kept nowhere."""
    with _COMPILING:
        return _build(network, machine, training, guard, timed=True)


def forget() -> None:
    """Keeps no native code any more but what is in use; all is compiled anew."""
    compiled.cache_clear()
    _built.cache_clear()


@lru_cache(maxsize=KEPT)
def _built(network: Network, machine: Machine, training: bool, guard: int) -> Compiled:
    return _build(network, machine, training, guard, timed=False)


def _build(
    network: Network, machine: Machine, training: bool, guard: int, *, timed: bool
) -> Compiled:
    start = time.perf_counter()
    kind = "training" if training else "inference"

    @once
    def plan() -> tuple[Step, Memory]:
        return _planned(network, machine, training, guard)

    def write() -> str:
        return build_program(network, *plan(), machine, training, share=False).text()

    debug.show(debug.LAUNCHES, f"launches of {kind}", lambda: step_text(*plan()))
    debug.show(debug.IR, f"LLVM IR of {kind}", write)
    kept_on_disk = cache.is_kept() and not timed
    name = cache.name_of(network, machine, training, guard) if kept_on_disk else None
    content = cache.load(name) if name else None
    if content is not None:
        memory, code = kept.unpack(content)
        built = time.perf_counter()
    else:
        step, memory = plan()
        _check(step, memory)  # code that is on disk was made of the same, by the same source
        module = build_program(network, step, memory, machine, training, timed=timed)
        parts = module.parts(PARTS * host.cores())
        built = time.perf_counter()
        size = sum(len(part) for part in parts)
        reserve.require(reserve.COMPILING + reserve.PER_BYTE * size, f"compiling {kind}")
        code = machine_code.object_code(parts, machine)
        if name:
            cache.keep(name, kept.pack(memory, code))
    engine = machine_code.linked(code)
    entry, done = NATIVE(engine.get_function_address(ENTRY)), time.perf_counter()
    times = built - start, done - built
    ticks = _ticks(engine, plan()[0]) if timed else np.empty(0, np.int64)
    found = content is not None
    return Compiled(entry, memory, machine, found, *times, ticks, plan, write, engine)


def _ticks(engine: llvm.ExecutionEngine, step: Step) -> np.ndarray:
    """The array in which a timed program counts."""
    count = len(places(step)) + 1
    address = engine.get_global_value_address(ARRAY)
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))


def planned(
    network: Network, machine: Machine, training: bool, guard: int = 0
) -> tuple[Step, Memory]:
    """The step of a network, for training or inference, and its memory; nothing is compiled."""
    step, memory = _planned(network, machine, training, guard)
    _check(step, memory)
    return step, memory


def _planned(
    network: Network, machine: Machine, training: bool, guard: int
) -> tuple[Step, Memory]:
    make = training_step if training else inference_step
    step = make(network, machine.lanes)
    return step, place_slots(step, guard)


def _check(step: Step, memory: Memory) -> None:
    spec.check_step(step)
    spec.check_memory(step, memory)
