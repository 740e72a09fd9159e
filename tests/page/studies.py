"""Invented results of studies: nothing is trained."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from convmill.study.result import Arm, Axis, Measure, Run, StudyResult, Vary
from convmill.study.statistics import compare, summarize

ACCURACY = Measure("accuracy", "test accuracy", "%", 100.0, 2, True)
SECONDS = Measure("epoch_seconds", "time per epoch", "s", 1.0, 1, False)
MEANS = {"max": 0.991, "average": 0.989, "none": 0.9905}
SEEDS = range(5)


def run(arm: str, seed: int, accuracy: float, **more) -> Run:
    curves = {"loss": (0.5, 0.25), "accuracy": (0.9, accuracy)}
    values = {"accuracy": accuracy, "epoch_seconds": 2.0 + seed / 10}
    return Run(arm, seed, values, curves, {"0": accuracy, "1": 1.0}, seconds=4.0,
               versions={"convmill": "0.1.0"}, machine="one machine",
               finished=f"2026-01-0{seed + 1}T00:00:00Z", **more)  # fmt: skip


def arm(name: str, runs: list[Run], label: str, **more) -> Arm:
    own = [each for each in runs if each.arm == name]
    summaries = tuple(
        summarize(measure.name, [each.values[measure.name] for each in own])
        for measure in (ACCURACY, SECONDS)
        if own
    )
    return Arm(name, label, **{"base": name, "at": None, "parameters": 93322,
               "multiply_adds": 2_794_000, "summaries": summaries} | more)  # fmt: skip


def accuracies(arm: str, runs: list[Run]) -> list[float]:
    return [each.values["accuracy"] for each in runs if each.arm == arm]


def result(runs: list[Run], arms: list[Arm], **more) -> StudyResult:
    given = {
        "name": "pooling", "title": "Pooling <&>", "question": "Does max pooling beat the others?",
        "answer": "Max pooling beats average pooling by 0.20 points.", "complete": True,
        "quick": True, "planned": len(runs), "measures": (ACCURACY, SECONDS), "arms": tuple(arms),
        "comparisons": (), "runs": tuple(runs), "vary": None,
        "command": "convmill study run pooling --quick", "configuration": 'title = "Pooling"\n',
        "versions": {"convmill": "0.1.0", "keras": "3.15.1"}, "machine": "one machine",
    }  # fmt: skip
    return StudyResult(**given | more)


def pooling() -> StudyResult:
    """Three arms of five seeds and one that failed; one difference that is told, one that is not.

    The seeds' noise is the same in all arms, but for what makes differences vary.
    """
    noise = np.random.default_rng(0).normal(0, 0.0008, (2, len(SEEDS)))
    runs = [
        run(name, seed, float(mean + noise[0, seed] + (name == "none") * noise[1, seed]))
        for name, mean in MEANS.items()
        for seed in SEEDS
    ]
    labels = {
        "max": "max pooling",
        "average": "average pooling",
        "none": "no pooling, same parameters",
    }
    arms = [arm(name, runs, label) for name, label in labels.items()]
    arms[2] = dataclasses.replace(arms[2], match="widths x 0.86: 93,410 parameters")
    arms.append(arm("broken", runs, "broken", failure="no such layer"))
    values = {name: accuracies(name, runs) for name in MEANS}
    compared = tuple(
        dataclasses.replace(
            compare("accuracy", ("max", other), values["max"], values[other]),
            corrected_p=p,
            sentence=f"max pooling against {other}",
        )
        for other, p in (("average", 0.001), ("none", 0.3))
    )
    return result(runs, arms, comparisons=compared, notes=("broken failed: no such layer",),
                  marks={"the notebook's text": 0.9923})  # fmt: skip


def efficiency() -> StudyResult:
    """Two nets at three amounts of data."""
    amounts = (100.0, 1000.0, 60000.0)
    means = {"dense": (0.7, 0.87, 0.97), "convolutions": (0.75, 0.93, 0.991)}
    runs, arms = [], []
    for base, some in means.items():
        for at, mean in zip(amounts, some, strict=True):
            name = f"{base}@{at:g}"
            own = [run(name, seed, mean + 0.001 * seed) for seed in SEEDS]
            runs += own
            arms.append(arm(name, own, f"{base} at {at:,.0f}", base=base, at=at))
    pairs = [(f"convolutions@{at:g}", f"dense@{at:g}") for at in amounts]
    compared = tuple(
        dataclasses.replace(
            compare("accuracy", pair, *(accuracies(name, runs) for name in pair)),
            sentence=" and ".join(pair),
        )
        for pair in pairs
    )
    vary = Vary("data.train", "training images", amounts, True)
    return result(runs, arms, comparisons=compared, vary=vary)


def translation() -> StudyResult:
    """Two nets with a map of accuracy over position each, and two with maps of other sizes."""
    rows = ((0.9, 0.8, 0.7), (0.5, 0.4, 0.3))
    maps = {"dense": rows, "global": ((0.9,) * 3,) * 2, "wide": ((0.1, 0.2, 0.3, 0.4),)}
    maps["dot"] = ((0.5,),)
    axes = Axis("shift down", (0.0, 4.0)), Axis("shift right", (0.0, 4.0, 8.0))
    runs = [
        run(
            name,
            seed,
            0.8,
            maps={"accuracy": tuple(tuple(cell + 0.01 * seed for cell in row) for row in each)},
            axes={"accuracy": axes} if len(each) == 2 else {},
        )
        for name, each in maps.items()
        for seed in (0, 1)
    ]
    arms = [arm(name, runs, f"the {name} net") for name in maps]
    return result(runs, arms)


def unfinished() -> StudyResult:
    """Nothing is finished yet."""
    return result([], [arm("max", [], "max pooling")], planned=10, complete=False,
                  answer="Not answered yet: 0 of 10 runs are finished.")  # fmt: skip


def single() -> StudyResult:
    """One run: no interval, no comparison."""
    runs = [run("max", 0, math.nan)]
    return result(runs, [arm("max", [run("max", 0, 0.98)], "max pooling")])
