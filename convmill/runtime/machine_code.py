"""From LLVM IR to an object file, and from an object file to a function in this process."""

from __future__ import annotations

import llvmlite
import llvmlite.binding as llvm

from convmill.plan.graph import NotCovered
from convmill.runtime import host


def target_machine() -> llvm.TargetMachine:
    """LLVM's description of this processor, its widest vectors allowed."""
    host.initialize()
    flags = llvm.get_host_cpu_features().flatten()
    if host.machine().architecture == "x86_64":
        flags += ",-prefer-256-bit"  # kernels choose their width themselves
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=3)


def compiler() -> str:
    """All that object code depends on beside the IR: LLVM, and the processor it is for."""
    target, features = target_machine(), llvm.get_host_cpu_features().flatten()
    versions = (llvmlite.__version__, llvm.llvm_version_info)
    return repr((versions, target.triple, llvm.get_host_cpu_name(), features))


def optimized(source: str) -> llvm.ModuleRef:
    """A module, checked and through LLVM's passes; loops are vectorized and unrolled by our
    kernels, not by LLVM. Raises NotCovered where LLVM refuses it."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = False
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(target_machine(), options)
    try:
        module = llvm.parse_assembly(source)
        module.verify()
        builder.getModulePassManager().run(module, builder)
    except RuntimeError as error:
        raise _refused(error) from error
    return module


def object_code(source: str) -> bytes:
    """An object file. Raises NotCovered where LLVM refuses the IR."""
    module = optimized(source)
    try:
        code: bytes = target_machine().emit_object(module)
    except RuntimeError as error:
        raise _refused(error) from error
    return code


def assembly(optimized_source: str) -> str:
    """The processor's instructions, as text."""
    text: str = target_machine().emit_assembly(llvm.parse_assembly(optimized_source))
    return text


def linked(code: bytes) -> llvm.ExecutionEngine:
    """An object file loaded into this process; its functions live as long as what is returned."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _refused(error: RuntimeError) -> NotCovered:
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return NotCovered(f"LLVM refuses the code for it ({first})", "report this model")
