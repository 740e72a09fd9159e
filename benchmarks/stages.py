"""Where a training step's time goes: cycles of each kernel for one image, of all threads together.

    python -m benchmarks.stages [--net notebook] [--images 6400] [--repeats 5] [--threads 1]

The program is built with a stopwatch around every kernel. Cycles are those of the processor's time
stamp counter (its fixed rate, not the clock of the moment); of several runs the least counts. What
is in no kernel is waiting for other threads, and taking tasks. MNIST comes from CONVMILL_DATA, else
random images, on which fewer or more places are live.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from benchmarks.images import load, one_hot
from benchmarks.nets import NETS
from convmill.kernels.ticks import places
from convmill.plan.read import read
from convmill.plan.recipe import Loss, Optimizer, one_goal
from convmill.runtime.program import Batches, Program


def main() -> None:
    """Print a table of cycles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="notebook", choices=sorted(NETS))
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ["CONVMILL_CACHE"] = ""  # nothing that was tuned here
    from benchmarks.workers.keras_nets import build  # brings Keras

    net = NETS[options.net]
    reading = read(build(net))
    recipe = one_goal(Loss("categorical_crossentropy"), Optimizer("rmsprop"), "categorical")
    program = Program(reading.graph, recipe, threads=options.threads, timed=True)
    program.set_parameters([np.asarray(variable.numpy()) for variable in reading.variables])
    code = program.code("training")
    images_ = load(net, "float64")
    x = images_.x[: options.images]
    y = one_hot(images_.labels[: len(x)], reading.graph.output_shape[0])
    batches = Batches(x, np.arange(len(x)), net.batch, y)
    rates = np.full(-(-len(x) // net.batch), 1e-3)
    least = np.full(len(code.ticks), np.inf)
    for _ in range(options.repeats):
        code.ticks[:] = 0
        start = time.process_time()
        program.train(batches, rates)
        print(f"{len(x) / (time.process_time() - start):,.0f} images a second of processor time")
        least = np.minimum(least, code.ticks / len(x))
    for launch, place in places(code.step).items():
        name = f"{launch.of} {launch.kernel}"
        print(f"{name:28} {least[place] / 1e3:8.1f} thousand cycles an image")
    kernels = least[:-1].sum()
    for name, cycles in (("all kernels", kernels), ("in no kernel", least[-1] - kernels)):
        print(f"{name:28} {cycles / 1e3:8.1f} thousand cycles an image")


if __name__ == "__main__":
    main()
