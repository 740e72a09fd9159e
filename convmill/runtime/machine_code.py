"""From LLVM IR to an object file, and from an object file to a function in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding import ffi

from convmill.lower.machine import Machine
from convmill.plan.refusals import NotCovered
from convmill.runtime import host
from convmill.threads import mapped

LENGTH = 8  # bytes before an object file that say how long it is
# What LLVM leaves alone of a processor that has more than the target. What is taken away last takes
# with it all that builds on it: every part of AVX-512, and with AVX also FMA.
BEYOND = {"avx2": ",-avx512f", "sse4": ",-avx"}


def target_machine(machine: Machine) -> llvm.TargetMachine:
    """LLVM's description of this processor, as far as ``machine`` goes; its widest vectors are
    allowed. Raises ValueError for a machine of another architecture: LLVM would end the process.
    """
    own = host.processor()
    if machine.architecture != own.architecture:
        raise ValueError(f"{own.target} runs no code for another processor. Received: {machine}")
    host.initialize()
    flags = llvm.get_host_cpu_features().flatten()
    if machine != own:
        flags += BEYOND.get(machine.target, "")
    if machine.architecture == "x86_64":
        flags += ",-prefer-256-bit"  # kernels choose their width themselves
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=3)


def compiler() -> str:
    """All that object code depends on beside the IR and the target: LLVM, and this processor."""
    host.initialize()
    versions = (llvmlite.__version__, llvm.llvm_version_info)
    features = llvm.get_host_cpu_features().flatten()
    return repr((versions, llvm.get_default_triple(), llvm.get_host_cpu_name(), features))


def optimized(source: str, target: llvm.TargetMachine) -> llvm.ModuleRef:
    """A module, checked, with its variables in registers. The rest is the code generator's: what is
    computed again is known to our kernels, which also vectorize and unroll loops themselves, and
    LLVM's other passes took nearly half of all the time for code that was no quicker. Raises
    NotCovered where LLVM refuses it."""
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    run = _unlocked(ffi.lib.LLVMPY_RunNewFunctionPassManager)
    try:
        module = llvm.parse_assembly(source, llvm.create_context())
        module.verify()
        for function in module.functions:
            if not function.is_declaration:
                run(passes, function, builder)
    except RuntimeError as error:
        raise _refused(error) from error
    finally:
        _dispose(passes)
    return module


def _dispose(passes: Any) -> None:
    """Frees what passes take. llvmlite 0.50 means to, and does not: in the order of its bases a
    method that does nothing comes first."""
    llvm.newpassmanagers.NewPassManager._dispose(passes)
    passes.detach()  # not once more where llvmlite does


def object_code(sources: Sequence[str], machine: Machine) -> bytes:
    """Object files, one behind the other, of modules that are linked to one another. They are
    compiled side by side. Raises NotCovered where LLVM refuses one."""
    host.initialize()  # once for all threads
    made = partial(_object, machine)
    objects = mapped(made, sources, host.cores())
    return b"".join(len(each).to_bytes(LENGTH, "little") + each for each in objects)


def _object(machine: Machine, source: str) -> bytes:
    target = target_machine(machine)
    module = optimized(source, target)
    with ffi.OutputString() as fault:
        emit = _unlocked(ffi.lib.LLVMPY_TargetMachineEmitToMemory)
        made = emit(target, module, 1, fault)
        if not made:
            raise _refused(RuntimeError(str(fault)))
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(made), ffi.lib.LLVMPY_GetBufferSize(made)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(made)


def _unlocked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of llvmlite's without its lock, which lets one thread at a time into LLVM: for
    those that take long, on a module that has a context of its own, as LLVM asks of threads."""
    plain: Callable[..., Any] = getattr(function, "_cfn", function)
    return plain


def assembly(optimized_source: str, target: llvm.TargetMachine) -> str:
    """The processor's instructions, as text."""
    text: str = target.emit_assembly(llvm.parse_assembly(optimized_source))
    return text


def linked(code: bytes) -> llvm.ExecutionEngine:
    """Object files loaded into this process; functions live as long as what is returned."""
    whole = target_machine(host.processor())  # nothing is compiled any more
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), whole)
    while code:
        end = LENGTH + int.from_bytes(code[:LENGTH], "little")
        engine.add_object_file(llvm.ObjectFileRef.from_data(code[LENGTH:end]))
        code = code[end:]
    engine.finalize_object()
    return engine


def _refused(error: RuntimeError) -> NotCovered:
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return NotCovered(f"LLVM refuses the code for it ({first})", "report this model")
