"""What training leaves, to the bit: a hash of weights and optimizer slots for each compiled net.

    python -m benchmarks.hashes [--nets notebook ...] [--steps 20] [--threads 2] > before.txt

trains every net of the benchmark that is compiled, on random images and from random weights, for
each target that this processor has (``convmill.lower.machine.TARGETS``). Run it before and after a
change that must not change a result, and compare the two texts.
"""

from __future__ import annotations

import argparse
import hashlib
import os

import numpy as np

from benchmarks.images import one_hot
from benchmarks.nets import NETS, Net
from convmill.lower.machine import Machine
from convmill.plan.graph.parameters import Parameter
from convmill.runtime import host

MOST_IMAGES = 64  # of a batch: beyond that steps take longer and show nothing more


def trained(net: Net, machine: Machine, steps: int, threads: int) -> str | None:
    """The hash for one net; None where it is not compiled."""
    from benchmarks.workers.keras_nets import build  # brings Keras
    from convmill.plan.read import read
    from convmill.plan.recipe import Loss, Optimizer, one_goal
    from convmill.plan.refusals import NotCovered
    from convmill.runtime.program import Batches, Program

    try:
        graph = read(build(net)).graph
    except NotCovered:
        return None
    random = np.random.default_rng(7)
    recipe = one_goal(Loss("categorical_crossentropy"), Optimizer(net.optimizer), "categorical")
    program = Program(graph, recipe, threads=threads, machine=machine)
    program.set_parameters([_drawn(random, each) for each in graph.parameters])
    batch = min(net.batch, MOST_IMAGES)
    count = batch * steps - batch // 2  # the last batch is a partial one
    x = random.random((count, *net.input_shape), dtype=np.float32)
    y = one_hot(random.integers(0, net.classes, count), net.classes)
    seeds = np.arange(graph.dropouts, dtype=np.uint64)
    order = random.permutation(count)
    rates = np.full(steps, net.learning_rate)
    record = program.train(Batches(x, order, batch, y), rates, seeds=seeds)
    found = hashlib.sha256()
    kept = [array for slot in program.get_slots().values() for array in slot]
    for array in [*program.get_parameters(), *kept, record.loss, record.correct]:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _drawn(random: np.random.Generator, parameter: Parameter) -> np.ndarray:
    """Weights spread as He initializers spread them; scales and variances near one; biases small,
    and none of them zero."""
    shape = parameter.shape
    spread = np.sqrt(2 / int(np.prod(shape[:-1]))) if len(shape) > 1 else 0.01
    middle = 1.0 if parameter.name.endswith(("/gamma", "/moving_variance")) else 0.0
    return (middle + spread * random.standard_normal(shape)).astype(np.float32)


def main() -> None:
    """Print one line for each net and target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS), default=list(NETS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ["CONVMILL_CACHE"] = ""  # nothing that was tuned here
    for name, machine in host.targets().items():
        for net in options.nets:
            found = trained(NETS[net], machine, options.steps, options.threads)
            print(f"{name:8} {net:18} {found or 'not compiled'}", flush=True)


if __name__ == "__main__":
    main()
