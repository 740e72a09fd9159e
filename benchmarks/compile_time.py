"""`python -m benchmarks.compile_time`: seconds from a Graph to native code. It asserts no time.

Lowering, building the LLVM IR, and LLVM's work, for training; then the same in a process that finds
the code on disk. Every figure is from a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmarks import record
from benchmarks.names import Names
from benchmarks.nets import NETS
from benchmarks.options import json_option, processes_option
from benchmarks.peers import ROOT
from benchmarks.results import summarise

_PROGRAM = """
import convmill, json, sys, time
from benchmarks.nets import NETS
from benchmarks.workers.keras_nets import build
from convmill.lower.passes import lower
from convmill.plan.read import read
from convmill.plan.recipe import Loss, Optimizer, one_goal
from convmill.runtime import host, jit

net = NETS[sys.argv[1]]
graph = read(build(net)).graph
recipe = one_goal(Loss("categorical_crossentropy"), Optimizer(net.optimizer), "categorical")
start = time.perf_counter()
network = lower(graph, recipe, host.machine())
lowered = time.perf_counter() - start
code = jit.compiled(network, host.machine(), True)
whole = time.perf_counter() - start
print(json.dumps([lowered + code.build_seconds, code.compile_seconds, whole]))
"""


def _seconds(net: str, folder: str) -> list[float]:
    """Until LLVM begins (or the code is found), LLVM's or the loading, and all, with a cache in
    ``folder``."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "CONVMILL_CACHE": folder}
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, net],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds: list[float] = json.loads(finished.stdout.splitlines()[-1])
    return seconds


@click.command()
@click.option("--nets", type=Names(NETS), default="notebook,resnet-20", show_default=True)
@processes_option
@json_option
def main(nets: list[str], repeats: int, json_file: Path | None) -> None:
    """Measure compiling for training, in seconds: median (least..greatest)."""
    begun = record.begin("compile_time")
    samples: dict[str, dict[str, list[list[float]]]] = {}
    for net in nets:
        compiled = [_seconds(net, "") for _ in range(repeats)]
        with tempfile.TemporaryDirectory() as folder:
            _seconds(net, folder)
            loaded = [_seconds(net, folder) for _ in range(repeats)]
        before, llvm, whole = zip(*compiled, strict=True)
        click.echo(
            f"{net}: {_summary(whole)} s, of these {_summary(before)} until LLVM begins and "
            f"{_summary(llvm)} in LLVM; loaded {_summary([each[2] for each in loaded])} s"
        )
        samples[net] = {"compiled": compiled, "loaded": loaded}
        if json_file:
            versions = record.own_versions()
            record.write(replace(begun, samples=samples, versions=versions), json_file)


def _summary(values: Sequence[float]) -> str:
    return summarise(values).told(".3f")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.compile_time")
