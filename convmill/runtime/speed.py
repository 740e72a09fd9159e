"""Predicts how long a training step takes on this machine, before anything is compiled.

The model is linear: each kind of work takes so many times what the same number of multiply-adds
would take at the machine's own rate, which small matrix products measure. `RELATIVE_COST` was
fitted by `python -m benchmarks.predictions --fit`, which also tells how far predictions are off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cache

import numpy as np

from convmill.design.costs import Cost
from convmill.design.steps import Design, Step
from convmill.lower.choices import Direct, Narrow, Winograd
from convmill.plan.reads import Windows
from convmill.runtime.host import cores, machine, thread_count

# Multiply-adds at the machine's rate that take as long as one unit of the work.
RELATIVE_COST = {
    "narrow": 2.26,
    "direct": 1.39,
    "winograd": 0.282,
    "backward": 1.13,
    "dense": 2.42,
    "parameters": 72.5,
    "step": 1.23e7,
}
# Matrices so small that one thread multiplies them, whichever library does it: others wait for one
# another where the machine is busy. A stack of them, so that calling costs nothing beside it.
PRODUCT_SHAPE = (16, 64, 64)
PRODUCTS = 20


def predict(
    design: Design, spent: Mapping[str, Cost], batch_size: int, threads: int | None = None
) -> tuple[dict[str, float], float]:
    """Seconds of each step of the design in one training step, and of the whole training step.

    ``threads`` is as in ``convmill.accelerate``. The whole holds what is no layer's: starting and
    joining threads, barriers.
    """
    rate = core_rate() * min(thread_count(threads), cores())
    each = {
        step.name: _relative(work(step, spent[step.name], batch_size)) / rate
        for step in design.steps
    }
    return each, sum(each.values()) + RELATIVE_COST["step"] / rate


def work(step: Step, cost: Cost, batch_size: int) -> dict[str, float]:
    """What one training step does in a layer, by the kinds of ``RELATIVE_COST``.

    "narrow" (a first layer of small windows, forward and backward), "direct", "winograd" (both
    forward), "backward" and "dense" count multiply-adds and activations, "parameters" updates.
    Lanes that idle in partly filled vectors count as work. The rest hides behind these.
    """
    done = {"parameters": float(step.trainable)}
    if step.kind == "dense":
        done["dense"] = float(batch_size * (cost.training + cost.training_operations))
    if step.kind != "convolution":
        return done
    forward = cost.thinned.computed * (cost.forward + cost.forward_operations)
    backward = cost.sparse_training + cost.sparse_training_operations - forward
    kind = _kind(cost)
    choice = cost.choice
    done[kind] = batch_size * forward * _idle_filters(step, choice and choice.forward)
    if kind == "narrow":  # filters in the lanes, backward as well
        done[kind] += batch_size * backward * _idle_filters(step, choice and choice.weight_gradient)
    else:
        done["backward"] = batch_size * backward * _idle(_window_row(step))
    return done


def _kind(cost: Cost) -> str:
    """Which of the compiler's algorithms a convolution takes."""
    if cost.choice is not None and isinstance(cost.choice.weight_gradient, Narrow):
        return "narrow"
    winograd = cost.choice is not None and isinstance(cost.choice.forward, Winograd)
    return "winograd" if winograd else "direct"


def _relative(done: Mapping[str, float]) -> float:
    return sum(RELATIVE_COST[kind] * amount for kind, amount in done.items())


def _idle(count: int) -> float:
    """How many times longer so many values take in whole vectors than they would without rests."""
    lanes = machine().lanes
    return -(-count // lanes) * lanes / count


def _idle_filters(step: Step, tile: object) -> float:
    """The same of filters in the lanes, beside themselves for several taps where they are few."""
    taps = tile.taps if isinstance(tile, Direct | Narrow) else 1
    row = _window_row(step)
    return _idle(step.shape[-1]) * -(-row // taps) / row


def _window_row(step: Step) -> int:
    """Values side by side that one row of a kernel reads: what the backward pass vectorizes."""
    width = step.reads.size[1] if isinstance(step.reads, Windows) else 1
    return width * step.read[0][-1]


@cache
def core_rate() -> float:
    """Multiply-adds a second of one core in small float32 matrix products, once in a process."""
    matrices = np.ones(PRODUCT_SHAPE, np.float32)
    best = float("inf")
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        np.matmul(matrices, matrices)
        best = min(best, time.perf_counter() - start)
    count, *sizes = PRODUCT_SHAPE
    return count * math.prod(sizes) * sizes[-1] / best
