"""From a module of kernels to native code in this process."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import llvmlite.binding as llvm

from convmill.kernels.run import ENTRY, build_program
from convmill.kernels.steps import inference_step, training_step
from convmill.lower import spec
from convmill.lower.launches import Step
from convmill.lower.lifetimes import Memory, place_slots
from convmill.lower.machine import Machine
from convmill.lower.stages import Network
from convmill.lower.text import step_text
from convmill.plan.graph import NotCovered
from convmill.runtime import debug, host, reserve

NATIVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
# LLVM's own state is shared in a process: one thread compiles at a time.
_COMPILING = threading.RLock()
KEPT = 64  # networks whose native code stays in memory, the last used


@dataclass(frozen=True, eq=False)
class Compiled:
    """Native code of one program: ``entry(context address, thread)``, the step and the memory that
    it was made for, the texts on the way (IR before optimization, assembly) and the seconds it
    took."""

    entry: Callable[[int, int], None]
    step: Step
    memory: Memory
    source: str
    build_seconds: float
    compile_seconds: float
    _engine: llvm.ExecutionEngine = field(repr=False)
    _module: llvm.ModuleRef = field(repr=False)
    _target: llvm.TargetMachine = field(repr=False)

    @cached_property
    def optimized(self) -> str:
        """LLVM IR after optimization."""
        with _COMPILING:
            return str(self._module)

    @cached_property
    def assembly(self) -> str:
        """The processor's instructions, as text."""
        with _COMPILING:
            module = llvm.parse_assembly(self.optimized)
            return target_machine().emit_assembly(module)


@lru_cache(maxsize=KEPT)
def compiled(network: Network, machine: Machine, training: bool, guard: int = 0) -> Compiled:
    """Native code for a network, built once in a process: equal networks share it.

    Raises NotCovered where LLVM refuses what our kernels say.
    """
    with _COMPILING:  # who waits here while an equal network is compiled finds it done
        return _built(network, machine, training, guard)


def forget() -> None:
    """Keeps no native code any more but what is in use; all is compiled anew."""
    compiled.cache_clear()
    _built.cache_clear()


@lru_cache(maxsize=KEPT)
def _built(network: Network, machine: Machine, training: bool, guard: int) -> Compiled:
    host.initialize()
    start = time.perf_counter()
    step, memory = planned(network, machine, training, guard)
    kind = "training" if training else "inference"
    debug.show(debug.LAUNCHES, f"launches of {kind}", lambda: step_text(step, memory))
    source = str(build_program(network, step, memory, machine, training))
    debug.show(debug.IR, f"LLVM IR of {kind}", lambda: source)
    built = time.perf_counter()
    reserve.require(reserve.COMPILING + reserve.PER_BYTE * len(source), f"compiling {kind}")
    engine, module, target = _native(source)
    done = time.perf_counter()
    return Compiled(
        NATIVE(engine.get_function_address(ENTRY)),
        step,
        memory,
        source,
        built - start,
        done - built,
        engine,
        module,
        target,
    )


def _native(source: str) -> tuple[llvm.ExecutionEngine, llvm.ModuleRef, llvm.TargetMachine]:
    """Native code of a module: what holds it, the module optimized, the machine it is for."""
    target = target_machine()
    try:
        module = llvm.parse_assembly(source)
        module.verify()
        optimize(module, target)
        engine = llvm.create_mcjit_compiler(module, target)
        engine.finalize_object()
    except RuntimeError as error:
        first = (str(error).strip() or "no reason given").splitlines()[0]
        raise NotCovered(f"LLVM refuses the code for it ({first})", "report this model") from error
    return engine, module, target


def planned(
    network: Network, machine: Machine, training: bool, guard: int = 0
) -> tuple[Step, Memory]:
    """The step of a network, for training or inference, and its memory; nothing is compiled."""
    make = training_step if training else inference_step
    step = make(network, machine.lanes)
    spec.check_step(step)
    memory = place_slots(step, guard)
    spec.check_memory(step, memory)
    return step, memory


def target_machine() -> llvm.TargetMachine:
    """LLVM's description of this processor, its widest vectors allowed."""
    flags = llvm.get_host_cpu_features().flatten()
    if host.machine().architecture == "x86_64":
        flags += ",-prefer-256-bit"  # kernels choose their width themselves
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=3)


def optimize(module: llvm.ModuleRef, target: llvm.TargetMachine) -> None:
    """LLVM's passes; loops are vectorized and unrolled by our kernels, not by LLVM."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = False
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
