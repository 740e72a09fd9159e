"""How well and how fast ``convmill train --recipe NAME`` trains: several seeds of each recipe.

    python -m benchmarks.recipes [--recipes fast,notebook-fast] [--seeds 10] [--held-out]

Each training is a process of its own, and compiles without the cache on the disk. Printed are every
seed's figures and, for each recipe, the accuracy's mean, standard deviation and Student's 95 %
interval of the mean, and the seconds: of training alone, and of compiling.

``--held-out`` trains on the first 50,000 of MNIST's training images and tests on the last 10,000:
recipes are looked for with that, so that the test images say nothing of how to train.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import record
from benchmarks.accuracy import interval
from benchmarks.names import Names, choice
from benchmarks.options import Count, json_option, threads_option
from benchmarks.peers import PEERS, ROOT, worker_environment
from convmill import data
from convmill.presets import NAMES

HELD_OUT = 10_000


def train(recipe: str, seed: int, threads: int, source: str) -> dict[str, Any]:
    """What one training prints as JSON."""
    command = [sys.executable, "-m", "convmill", "train", "--recipe", recipe, "--data", source]
    command += ["--seed", str(seed), "--threads", str(threads), "--json"]
    environment = worker_environment(PEERS["convmill"], threads) | {"CONVMILL_CACHE": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{recipe}, seed {seed} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_held_out(file: Path) -> None:
    """MNIST's training images alone: the last of them are for the test."""
    mnist = data.load("mnist")
    x, y, first = mnist.x_train, mnist.y_train, len(mnist.x_train) - HELD_OUT
    np.savez(file, x_train=x[:first], y_train=y[:first], x_test=x[first:], y_test=y[first:])


def summary(recipe: str, results: list[dict[str, Any]]) -> str:
    """The figures of a recipe over its seeds, in percent and seconds."""
    accuracies = [100 * result["test"]["accuracy"] for result in results]
    training = [result["training_seconds"] for result in results]
    compiling = [result["compile_seconds"] for result in results]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    above = sum(accuracy >= 99 for accuracy in accuracies)
    return (
        f"{recipe}: {statistics.mean(accuracies):.3f} % +- {interval(accuracies):.3f} "
        f"(95 % interval of the mean, n = {len(results)}), standard deviation {spread:.3f}, "
        f"least {min(accuracies):.2f}, {above} of {len(results)} at or above 99 %; "
        f"training {statistics.median(training):.2f} s "
        f"({min(training):.2f}..{max(training):.2f}), "
        f"compiling {statistics.median(compiling):.2f} s "
        f"({min(compiling):.2f}..{max(compiling):.2f})"
    )


@click.command(context_settings={"show_default": True})
@click.option("--recipes", type=Names(NAMES), default="all", help=choice(NAMES))
@click.option("--seeds", type=Count(1), default=10, help="Trainings of each recipe.")
@threads_option
@click.option("--held-out", is_flag=True, help="Test on the last 10,000 training images.")
@json_option
def main(
    recipes: list[str], seeds: int, threads: int, held_out: bool, json_file: Path | None
) -> None:
    """Train with every recipe and seed in turn; print as they come, and the figures of each."""
    begun = record.begin("recipes")
    here = begun.machine
    click.echo(f"{here['cpu']}, {here['cores']} cores, {here['date']}; {threads} threads")
    found: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in recipes}
    with tempfile.TemporaryDirectory() as folder:
        source = "mnist"
        if held_out:
            source = str(Path(folder) / "held-out.npz")
            write_held_out(Path(source))
        for seed in range(seeds):
            for recipe, results in found.items():
                result = train(recipe, seed, threads, source)
                results.append({**result, "data": Path(source).stem})
                click.echo(
                    f"seed {seed}, {recipe}: {100 * result['test']['accuracy']:.2f} %, training "
                    f"{result['training_seconds']:.2f} s, compiling "
                    f"{result['compile_seconds']:.2f} s"
                )
    for recipe, results in found.items():
        click.echo(summary(recipe, results))
    if json_file:
        record.write(replace(begun, samples=found, versions=record.own_versions()), json_file)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.recipes")
