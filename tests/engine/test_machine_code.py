"""From modules to machine code: side by side, and linked to one another."""

from __future__ import annotations

import ctypes
import gc
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite.binding import ffi

from convmill.kernels import ir
from convmill.kernels.lang import I64, POINTER, Emitter
from convmill.kernels.run import build_program
from convmill.lower.machine import TARGETS
from convmill.lower.passes import lower
from convmill.plan.refusals import NotCovered
from convmill.runtime import host, jit, machine_code
from convmill.runtime.program import Program
from tests.engine.nets import conv, dense, flatten, graph_of

NUMBERS = range(7)


@pytest.fixture
def cut_small(monkeypatch):
    """Small modules are cut, too."""
    monkeypatch.setattr(ir, "SMALLEST_PART", 1)


def summing() -> ir.Module:
    """``run(result)``: the sum of tables, read by a function each, counted in an array of all."""
    module = ir.Module()
    counts = ir.Array(module, ir.Constant(ir.ArrayType(I64, 2), None), "counts", exported=True)
    functions = []
    for number in NUMBERS:
        e = Emitter(module, f"f{number}", [POINTER], 8)
        e.store_scalar(e.load_scalar(e.table([1, number], I64), 1, I64), e.arguments[0], 0, I64)
        e.builder.atomic_rmw("add", e.at(counts, number % 2, I64), e.index(1), "monotonic")
        functions.append(e.finish())
    e = Emitter(module, "run", [POINTER], 8, exported=True)
    own = e.scratch(I64, 1)
    for function in functions:
        e.call(function, own)
        total = e.add(e.load_scalar(own, 0, I64), e.load_scalar(e.arguments[0], 0, I64))
        e.store_scalar(e.index(total), e.arguments[0], 0, I64)
    for place in range(2):
        count = e.load_scalar(counts, place, I64)
        e.store_scalar(count, e.arguments[0], place + 1, I64)
    e.finish()
    return module


@pytest.mark.parametrize("most", [1, 2, 3, 8, 99])
def test_parts_are_linked_to_one_another(most, cut_small):
    parts = summing().parts(most)
    assert len(parts) == min(most, len(NUMBERS) + 1)
    engine = machine_code.linked(machine_code.object_code(parts, host.machine()))
    result = np.zeros(3, np.int64)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("run"))
    run(result.ctypes.data)
    assert result.tolist() == [sum(NUMBERS), 4, 3]
    counts = engine.get_global_value_address("counts")
    assert np.ctypeslib.as_array((ctypes.c_int64 * 2).from_address(counts)).tolist() == [4, 3]


def test_every_function_is_in_one_part(cut_small):
    graph = graph_of((8, 8, 2), conv(3, (3, 3)), flatten, dense(4))
    network = lower(graph, None, host.machine())
    step, memory = jit.planned(network, host.machine(), False)
    module = build_program(network, step, memory, host.machine(), False)
    wanted = sorted(re.findall('^define [^@]*@"([^"]*)"', module.text(), re.MULTILINE))
    assert len(wanted) > 4
    for most in (1, 3, 1000):
        parts = "\n".join(module.parts(most))
        assert sorted(re.findall('^define [^@]*@"([^"]*)"', parts, re.MULTILINE)) == wanted


def test_code_of_another_architecture_is_refused():
    other = TARGETS["neon" if host.processor().architecture == "x86_64" else "avx2"]
    program = Program(graph_of((8, 8, 2), conv(3, (3, 3))), None, machine=other)
    with pytest.raises(ValueError, match="another processor"):
        program.code("inference")


def test_modules_are_compiled_side_by_side():
    """Without llvmlite's lock around what takes long; one that keeps it elsewhere is noticed."""
    for name in ("LLVMPY_RunNewFunctionPassManager", "LLVMPY_TargetMachineEmitToMemory"):
        locked = getattr(ffi.lib, name)
        assert machine_code._unlocked(locked) is not locked


def test_one_thread_compiles_where_no_more_can_be_had(monkeypatch, cut_small):
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    parts = summing().parts(3)
    wanted = machine_code.object_code(parts, host.machine())
    monkeypatch.setattr("threading.Thread.start", none)
    assert machine_code.object_code(parts, host.machine()) == wanted


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_llvm_refuses_of_one_part_is_not_covered(broken, cut_small):
    parts = summing().parts(3)
    parts[broken] += "\nno LLVM IR"
    with pytest.raises(NotCovered, match="LLVM refuses the code"):
        machine_code.object_code(parts, host.machine())


def test_what_passes_take_is_freed(monkeypatch):
    """Once each: llvmlite 0.50 frees none of it."""
    freed = []
    kind = llvm.newpassmanagers.NewPassManager
    free = kind._dispose
    monkeypatch.setattr(kind, "_dispose", lambda one: freed.append(one) or free(one))
    machine = host.machine()
    machine_code.optimized(summing().text(), machine_code.target_machine(machine))
    with pytest.raises(NotCovered):
        machine_code.optimized("nonsense", machine_code.target_machine(machine))
    gc.collect()
    assert len(freed) == 2
