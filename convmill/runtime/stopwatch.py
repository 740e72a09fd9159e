"""How long each launch of a Program takes, on one thread."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from convmill.kernels.ticks import READER, places, reader
from convmill.lower.launches import Launch
from convmill.lower.machine import Machine
from convmill.runtime import machine_code
from convmill.runtime.program import Kind, Program

CALIBRATION_SECONDS = 0.02
Seconds = Mapping[Launch, float]


def launch_seconds(
    program: Program, kind: Kind, run: Callable[[Program], object], seconds: float
) -> dict[Launch, float]:
    """Seconds of each launch in one ``run``, the least of as many as fit into ``seconds``: whatever
    else the machine does only adds to it. Short runs are rarely interrupted. What Python does
    around them does not count.

    Raises ValueError for a Program that is not timed, or has several threads.
    """
    code = program.code(kind)
    if not len(code.ticks) or program.threads > 1:
        raise ValueError("a timed Program with one thread is wanted")
    run(program)  # makes ready what is made once
    least = np.full(len(code.ticks), np.inf)
    end = time.perf_counter() + seconds
    while True:
        code.ticks[:] = 0
        run(program)
        least = np.minimum(least, code.ticks)
        if time.perf_counter() >= end:
            break
    least *= seconds_a_tick(code.machine)
    return {launch: float(least[place]) for launch, place in places(code.step).items()}


@cache
def seconds_a_tick(machine: Machine) -> float:
    """How long a tick of the processor's counter is: measured once a process."""
    engine = machine_code.linked(machine_code.object_code([reader(machine)], machine))
    now = ctypes.CFUNCTYPE(ctypes.c_int64)(engine.get_function_address(READER))
    ticks, start = now(), time.perf_counter()
    while time.perf_counter() < start + CALIBRATION_SECONDS:
        pass
    return (time.perf_counter() - start) / max(1, now() - ticks)
