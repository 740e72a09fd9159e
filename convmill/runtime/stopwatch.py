"""How long each launch of a Program takes, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from convmill.kernels.ticks import places
from convmill.lower.launches import Launch
from convmill.runtime.program import Kind, Program

Seconds = Mapping[Launch, float]


def launch_seconds(
    program: Program, kind: Kind, run: Callable[[Program], object], seconds: float
) -> dict[Launch, float]:
    """Seconds of each launch in one ``run``, the least of as many as fit into ``seconds``: whatever
    else the machine does only adds to it. Short runs are rarely interrupted.

    Raises ValueError for a Program that is not timed, or has several threads.
    """
    code = program.code(kind)
    if not len(code.ticks) or program.threads > 1:
        raise ValueError("a timed Program with one thread is wanted")
    run(program)  # makes ready what is made once
    least = np.full(len(code.ticks), np.inf)
    total, ticks = 0.0, 0
    while not ticks or total < seconds:
        code.ticks[:] = 0
        start = time.perf_counter()
        run(program)
        total += time.perf_counter() - start
        ticks += int(code.ticks[-1])
        least = np.minimum(least, code.ticks)
    least *= total / ticks  # seconds for ticks
    return {launch: float(least[place]) for launch, place in places(code.step).items()}
