"""How far the predicted time of a training step is from the measured one.

    python -m benchmarks.predictions [--fit] [--net notebook --net gap ...]

Trains each net that the compiler covers on random images, a few batches, and prints predicted and
measured milliseconds a step, the least of rounds that go through all nets. ``--fit`` also fits the
coefficients of `convmill/runtime/speed.py` to what was measured, within bounds that
`benchmarks.stages` sets, and leaves each net out in turn to tell how well nets that were not fitted
are predicted. Both want a machine at rest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

import convmill  # before Keras, whose backend it chooses
from benchmarks.nets import NETS, Net
from benchmarks.workers import keras_nets
from convmill.design.costs import costs
from convmill.design.steps import design_of
from convmill.plan.refusals import NotCovered
from convmill.runtime import speed
from convmill.runtime.host import cores, machine

BATCH_SIZES = (16, 64, 256)
ROUNDS = 5
SECONDS = 0.4  # that a measured epoch should take
# Cycles a unit of work in the notebook's net, from `python -m benchmarks.stages`: sums of steps
# cannot tell layers apart that occur together in every net.
STAGE_CYCLES = {
    "narrow": 0.056,
    "direct": 0.045,
    "winograd": 0.028,
    "backward": 0.068,
    "dense": 0.060,
    "parameters": 1.8,
}
FREEDOM = 2.0


@dataclass(frozen=True)
class Case:
    """One net at one batch size, compiled, and how many batches an epoch that is timed has."""

    net: Net
    batch_size: int
    model: Any
    batches: int

    def seconds(self) -> float:
        """Of one step, of an epoch of so many."""
        return _epoch(self.model, self.net, self.batch_size, self.batches)


@dataclass(frozen=True)
class Sample:
    """A net at one batch size: its work by kind, the machine's rate and seconds a step."""

    net: str
    batch_size: int
    work: dict[str, float]
    rate: float
    seconds: float


def cases(names: Sequence[str]) -> list[Case]:
    """Every net of these that is compiled, at each batch size; says which are not."""
    found = []
    for name in names:
        for batch_size in BATCH_SIZES:
            try:
                case = _compiled(NETS[name], batch_size)
            except NotCovered as gap:
                print(f"{name}: not compiled ({gap.reason})")
                break
            found.append(case)
            if case.seconds() > SECONDS:  # a larger batch tells nothing new
                break
    return found


def _compiled(net: Net, batch_size: int) -> Case:
    model = keras_nets.build(net)
    model.compile(keras_nets.optimizer(net), "sparse_categorical_crossentropy")
    convmill.accelerate(model, strict=True)
    _epoch(model, net, batch_size, 2)  # compiles
    batches = max(2, round(SECONDS / _epoch(model, net, batch_size, 2)))
    return Case(net, batch_size, model, batches)


def samples(cases: Sequence[Case]) -> list[Sample]:
    """Measured in rounds, each of which goes through all cases: a noisy minute hits one round.

    Of the rounds the least time and the highest rate count: neighbours on the machine only ever
    slow things down.
    """
    seconds, rate = [float("inf")] * len(cases), 0.0
    for _ in range(ROUNDS):
        for index, case in enumerate(cases):
            speed.core_rate.cache_clear()
            rate = max(rate, speed.core_rate() * cores())
            seconds[index] = min(seconds[index], case.seconds())
    return [
        Sample(case.net.name, case.batch_size, _work(case), rate, least)
        for case, least in zip(cases, seconds, strict=True)
    ]


def _work(case: Case) -> dict[str, float]:
    """What one step does, by kind."""
    design = design_of(case.model)
    spent = costs(design, machine())
    done = dict.fromkeys(speed.RELATIVE_COST, 0.0) | {"step": 1.0}
    for step in design.steps:
        for kind, amount in speed.work(step, spent[step.name], case.batch_size).items():
            done[kind] += amount
    return done


def _epoch(model: Any, net: Net, batch_size: int, batches: int) -> float:
    """Seconds of one step, of an epoch of so many."""
    random = np.random.default_rng(0)
    count = batch_size * batches
    x = random.random((count, *net.input_shape), np.float32)
    y = random.integers(0, net.classes, count)
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch_size, epochs=1, verbose=0)
    return (time.perf_counter() - start) / batches


def predicted(one: Sample, coefficients: dict[str, float]) -> float:
    """Seconds of a step."""
    return sum(coefficients[kind] * amount for kind, amount in one.work.items()) / one.rate


def fitted(samples: Sequence[Sample]) -> dict[str, float]:
    """Coefficients with the least sum of squared relative errors, none farther from the measured
    stages than by a factor of two once these are brought to the machine's scale."""
    kinds = list(speed.RELATIVE_COST)
    rows = [[one.work[kind] / one.rate / one.seconds for kind in kinds] for one in samples]
    matrix, ones = np.asarray(rows), np.ones(len(samples))
    measured = np.asarray([STAGE_CYCLES.get(kind, 0.0) for kind in kinds])
    staged = matrix @ measured
    scale = float(staged @ ones / (staged @ staged))
    least = measured * scale / FREEDOM
    most = np.where(measured > 0, measured * scale * FREEDOM, np.inf)
    # the solver wants columns of like size
    sizes = matrix.max(axis=0, initial=1e-12)
    solution = lsq_linear(matrix / sizes, ones, (least * sizes, most * sizes)).x / sizes
    return dict(zip(kinds, solution.tolist(), strict=True))


def _print(samples: Sequence[Sample], left_out: dict[str, dict[str, float]]) -> None:
    print("| net | batch | measured, ms | predicted, ms | ratio |" + " left out |" * bool(left_out))
    print("|---|---:|---:|---:|---:|" + "---:|" * bool(left_out))
    for one in samples:
        told = predicted(one, speed.RELATIVE_COST)
        line = f"| {one.net} | {one.batch_size} | {one.seconds * 1e3:.2f} | {told * 1e3:.2f} "
        line += f"| {told / one.seconds:.2f} |"
        if left_out:
            line += f" {predicted(one, left_out[one.net]) / one.seconds:.2f} |"
        print(line)
    ratios = [predicted(one, speed.RELATIVE_COST) / one.seconds for one in samples]
    within = sum(1 / 1.5 < ratio < 1.5 for ratio in ratios)
    print(f"\nWithin a factor of 1.5: {within} of {len(ratios)}; median {np.median(ratios):.2f}")


def main() -> None:
    """Measure, fit if asked to, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit the coefficients as well")
    parser.add_argument("--net", action="append", choices=list(NETS), help="only this net")
    arguments = parser.parse_args()
    measured = samples(cases(arguments.net or list(NETS)))
    rate = measured[0].rate
    print(f"The machine's rate: {rate / 1e9:.1f} thousand million multiply-adds a second\n")
    left_out: dict[str, dict[str, float]] = {}
    if arguments.fit:
        speed.RELATIVE_COST.update(fitted(measured))
        for kind, value in speed.RELATIVE_COST.items():
            print(f'    "{kind}": {value:.3g},')
        for name in {one.net for one in measured}:
            left_out[name] = fitted([one for one in measured if one.net != name])
    _print(measured, left_out)


if __name__ == "__main__":
    main()
