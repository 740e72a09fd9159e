"""The machine's peak of float32 fused multiply-adds, measured by a loop that does nothing else.

The loop is emitted with llvmlite for the widest vectors of the host: independent accumulators that
stay in registers, enough of them to cover the latency of every FMA unit. `python -m
benchmarks.fma_peak` prints the peak.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

INDEX = ir.IntType(64)
FLOAT = ir.FloatType()
Kernel = Callable[[int], float]


def host_lanes() -> int:
    """float32 lanes of the host's widest vectors: 16, 8 or 4."""
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


def accumulator_count(lanes: int) -> int:
    """AVX2 has 16 registers, and two of them hold the factors; AVX-512 and NEON have 32."""
    return 12 if lanes == 8 else 24


def emit(lanes: int) -> ir.Module:
    """`float peak(int64 n)`: n rounds of s = s * a + b on every accumulator s.

    It returns a lane of their sum, so that LLVM has to compute them all.
    """
    module = ir.Module("fma_peak")
    vector = ir.VectorType(FLOAT, lanes)
    fma = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32")
    function = ir.Function(module, ir.FunctionType(FLOAT, [INDEX]), "peak")
    entry, body, end = (function.append_basic_block(name) for name in ("entry", "body", "end"))
    builder = ir.IRBuilder(entry)
    builder.branch(body)
    builder.position_at_end(body)
    index = builder.phi(INDEX)
    sums = [builder.phi(vector) for _ in range(accumulator_count(lanes))]
    # The fixed point of s -> 0.5 s + 0.5 is 1: no accumulator ever overflows or turns denormal.
    half = ir.Constant(vector, [0.5] * lanes)
    new = [builder.call(fma, [total, half, half]) for total in sums]
    following = builder.add(index, INDEX(1))
    index.add_incoming(INDEX(0), entry)
    index.add_incoming(following, body)
    for number, (total, value) in enumerate(zip(sums, new, strict=True)):
        total.add_incoming(ir.Constant(vector, [float(number)] * lanes), entry)
        total.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, function.args[0]), body, end)
    builder.position_at_end(end)
    total = new[0]
    for value in new[1:]:
        total = builder.fadd(total, value)
    builder.ret(builder.extract_element(total, ir.IntType(32)(0)))
    return module


@cache
def kernel(lanes: int) -> tuple[Kernel, llvm.ExecutionEngine]:
    """The compiled loop (ctypes lets go of the GIL) and the engine that keeps its code alive."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(str(emit(lanes)))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)
    return signature(engine.get_function_address("peak")), engine


def _rate(run: Kernel, rounds: int, threads: int) -> float:
    """Rounds per second of all threads together, each by its own CPU clock.

    The threads run at the same time, so that they share the clock rate and the FMA units as in real
    work; but a core that another program takes meanwhile does not count against the machine.
    """
    barrier = threading.Barrier(threads)
    rates: list[float] = []

    def work() -> None:
        barrier.wait()
        start = time.thread_time()
        run(rounds)
        rates.append(rounds / (time.thread_time() - start))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(rates)


def measure(threads: int, seconds: float = 0.1, tries: int = 3) -> float:
    """GFLOP/s of `threads` together: the best of `tries` that last about `seconds` each."""
    lanes = host_lanes()
    run, _ = kernel(lanes)
    rounds = int(seconds * _rate(run, 100_000, 1))
    operations = 2 * lanes * accumulator_count(lanes)
    return max(operations * _rate(run, rounds, threads) / 1e9 for _ in range(tries))


if __name__ == "__main__":
    for count in sorted({1, os.cpu_count() or 1}):
        print(f"{count} thread(s), {host_lanes()} lanes: {measure(count):.1f} GFLOP/s")
