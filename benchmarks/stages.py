"""Where a training step's time goes: cycles of each kernel for one image, on one thread.

    python -m benchmarks.stages [--net notebook] [--images 6400] [--repeats 5]

A stopwatch is put around every kernel while the net is being compiled, from outside, so that the
engine knows nothing of it. Cycles are those of the processor's time stamp counter (its
fixed rate, not the clock of the moment); of several runs the least counts. MNIST comes from
CONVMILL_DATA, else random images, on which fewer or more places are live.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time

import numpy as np

from benchmarks.images import load, one_hot
from benchmarks.nets import NETS
from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import I64
from convmill.kernels.operation import Write
from convmill.kernels.operations import KERNELS
from convmill.plan.read import read
from convmill.plan.recipe import Loss, Optimizer, one_goal
from convmill.runtime.program import Batches, Program

CLOCKS = 128
names: list[str] = []


def timed(write: Write) -> Write:
    """The same kernel, with its cycles added to a counter of its launch."""

    def run(k: Kernel) -> None:
        place = len(names)
        names.append(f"{k.launch.of} {k.launch.kernel}")
        now = k.declare("llvm.readcyclecounter", I64, [])
        start = k.builder.call(now, [])
        write(k)
        spent = k.builder.sub(k.builder.call(now, []), start)
        if "cycles" not in k.module.globals:
            zeros = ir.Constant(ir.ArrayType(I64, CLOCKS), None)
            ir.Array(k.module, zeros, "cycles", exported=True)
        address = k.module.globals["cycles"]
        k.builder.atomic_rmw("add", k.at(address, place, I64), spent, "monotonic")

    return run


def install() -> None:
    """Put a stopwatch around every kernel that a program is made of."""
    for name, write in KERNELS.items():
        KERNELS[name] = timed(write)


def main() -> None:
    """Print a table of cycles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="notebook", choices=sorted(NETS))
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ["CONVMILL_CACHE"] = ""  # code that is loaded has no stopwatch
    from benchmarks.workers.keras_nets import build  # brings Keras

    install()
    net = NETS[options.net]
    reading = read(build(net))
    recipe = one_goal(Loss("categorical_crossentropy"), Optimizer("rmsprop"), "categorical")
    program = Program(reading.graph, recipe, threads=1)
    program.set_parameters([np.asarray(variable.numpy()) for variable in reading.variables])
    code = program.code("training")
    address = code._engine.get_global_value_address("cycles")
    clocks = np.ctypeslib.as_array((ctypes.c_int64 * CLOCKS).from_address(address))
    images_ = load(net, "float64")
    x = images_.x[: options.images]
    y = one_hot(images_.labels[: len(x)], reading.graph.output_shape[0])
    batches = Batches(x, np.arange(len(x)), net.batch, y)
    rates = np.full(-(-len(x) // net.batch), 1e-3)
    least = np.full(CLOCKS, np.inf)
    for _ in range(options.repeats):
        clocks[:] = 0
        start = time.process_time()
        program.train(batches, rates)
        print(f"{len(x) / (time.process_time() - start):,.0f} images a second of processor time")
        least = np.minimum(least, clocks / len(x))
    for name, cycles in zip(names, least, strict=False):
        print(f"{name:28} {cycles / 1e3:8.1f} thousand cycles an image")
    print(f"{'all':28} {least[: len(names)].sum() / 1e3:8.1f}")


if __name__ == "__main__":
    main()
