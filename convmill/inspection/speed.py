"""Predicts how long a training step takes on this machine, before anything is compiled.

The model is linear: each kind of work takes so many times what the same number of multiply-adds
would take at the machine's own rate, which a small matrix product measures. `RELATIVE_COST` was
fitted by `python -m benchmarks.predictions --fit`, which also tells how far predictions are off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cache

import numpy as np

from convmill.plan.costs import Cost, shares
from convmill.plan.outline import Outline, Step, Windows
from convmill.runtime.host import cores, machine, thread_count

# Multiply-adds at the machine's rate that take as long as one unit of the work.
RELATIVE_COST = {
    "first": 3.89,
    "direct": 1.59,
    "winograd": 0.403,
    "backward": 1.24,
    "dense": 2.8,
    "values": 0.0,  # hidden behind what is counted elsewhere
    "parameters": 84.1,
    "step": 3.99e7,
}
# Sizes from which the engine transforms 3x3 convolutions; below, windows are read directly.
WINOGRAD_CHANNELS = 16
# Weights of a filter up to which a first layer visits every place (lower/schedule.py).
FIRST_TAPS = 32
PRODUCT_SIZE = 256
PRODUCTS = 6


def predict(
    outline: Outline, spent: Mapping[str, Cost], batch_size: int, threads: int | None = None
) -> tuple[dict[str, float], float]:
    """Seconds of each step of the outline in one training step, and of the whole training step.

    ``threads`` is as in ``convmill.accelerate``. The whole holds what is no layer's: starting and
    joining threads, barriers.
    """
    rate = machine_rate() * min(thread_count(threads) / cores(), 1.0)
    each = {
        step.name: _relative(work(outline, step, spent[step.name], batch_size)) / rate
        for step in outline.steps
    }
    return each, sum(each.values()) + RELATIVE_COST["step"] / rate


def work(outline: Outline, step: Step, cost: Cost, batch_size: int) -> dict[str, float]:
    """What one training step does in a layer, by the kinds of ``RELATIVE_COST``.

    "first", "direct", "winograd" (all forward), "backward" and "dense" count multiply-adds,
    "values" what is written that no convolution or dense layer writes, "parameters" updates. Lanes
    that idle in partly filled vectors count as work.
    """
    done = {"parameters": float(step.trainable)}
    if step.kind == "convolution":
        forward = _forward(outline, step)
        backward = cost.sparse_training - forward
        done[_forward_kind(outline, step)] = batch_size * forward * _idle(step.shape[-1])
        if _is_first(outline, step):  # filters in the lanes, backward as well
            done["first"] += batch_size * backward * _idle(step.shape[-1])
        else:
            done["backward"] = batch_size * backward * _idle(_window_row(step))
    elif step.kind == "dense":
        done["dense"] = float(batch_size * cost.training)
    elif step.kind not in ("input", "shape"):
        done["values"] = float(batch_size * cost.output_bytes / 4)
    return done


def _relative(done: Mapping[str, float]) -> float:
    return sum(RELATIVE_COST[kind] * amount for kind, amount in done.items())


def _idle(count: int) -> float:
    """How many times longer so many values take in whole vectors than they would without rests."""
    lanes = machine().lanes
    return -(-count // lanes) * lanes / count


def _window_row(step: Step) -> int:
    """Values side by side that one row of a kernel reads: what the backward pass vectorizes."""
    width = step.reads.size[1] if isinstance(step.reads, Windows) else 1
    return width * step.read[0][-1]


def _forward(outline: Outline, step: Step) -> float:
    """Forward multiply-adds, those places left out that pooling never reads."""
    read, _ = shares(outline, step)
    return read * (step.multiply_adds + step.activation_work)


def _forward_kind(outline: Outline, step: Step) -> str:
    if _is_first(outline, step):
        return "first"
    windows = step.reads
    plain = isinstance(windows, Windows) and (windows.size, windows.strides) == ((3, 3), (1, 1))
    channels = min(step.read[0][-1], step.shape[-1])
    return "winograd" if plain and channels >= WINOGRAD_CHANNELS else "direct"


def _is_first(outline: Outline, step: Step) -> bool:
    """Whether it reads the image itself through windows of few values."""
    read = outline.step(step.inputs[0])
    taps = step.multiply_adds / max(math.prod(step.shape), 1)
    return read.kind in ("input", "normalization") and taps <= FIRST_TAPS


@cache
def machine_rate() -> float:
    """Multiply-adds a second of all cores in a small float32 matrix product, once in a process."""
    one = np.ones((PRODUCT_SIZE, PRODUCT_SIZE), np.float32)
    best = float("inf")
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - start)
    return PRODUCT_SIZE**3 / best
