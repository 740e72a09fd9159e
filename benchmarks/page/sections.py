"""The page's sections: what was measured, how, and the tables. None where it was not measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.accuracy import interval
from benchmarks.checkpoints import DEFAULT_SECONDS
from benchmarks.latency import CALLS
from benchmarks.page import engines, figures
from benchmarks.page.gathered import Gathered
from benchmarks.page.text import prose, section, source, table
from benchmarks.peers import OWN, PEERS
from benchmarks.report import ratio
from benchmarks.results import summarise


def latency(gathered: Gathered) -> str | None:
    """One image."""
    record = gathered.part("latency")
    if record is None:
        return None
    found = {call: figures.calls(record, call) for call in CALLS}
    rows = [["", *(f"{call}, us" for call in CALLS)]]
    for name in record.samples:
        cells = [found[call].get(name) for call in CALLS]
        rows.append([PEERS[name].label, *(each.told() if each else "-" for each in cells)])
    ratios = [ratio(figures.sooner(found[call])) for call in CALLS]
    rows.append(["the quickest peer over convmill", *ratios])
    return section(
        "One image",
        source(record),
        prose(
            f"Microseconds of a call with one image, `{record.options['net']}`. What has no "
            "`predict` is compared by its call that predicts: PyTorch's `model(x)`, a jitted JAX "
            "function."
        ),
        "![Microseconds of a call](benchmarks/latency.svg)",
        table(rows),
    )


def threads(gathered: Gathered) -> str | None:
    """Scaling, and beside busy processes."""
    record = gathered.part("threads")
    if record is None:
        return None
    busy = record.options["busy"]
    speedups, beside = figures.speedups(record), figures.beside_busy(record)
    rows = [["net", "threads", "images/s", "over one thread"]]
    rows[0] += [f"beside {busy} busy, of alone", "its share of the CPU"] if busy else []
    for net, counts in speedups.items():
        for count, speedup in counts.items():
            chunks = record.samples[net][str(count)]["alone"]
            rate = summarise([chunk["images"] / chunk["seconds"] for chunk in chunks])
            cells = [net, str(count), rate.told(), speedup.told(".2f")]
            if busy:
                cells += [beside[net][count].told(".2f"), ratio(figures.fair_share(record, count))]
            rows.append(cells)
    text = "Training; ratios are of the same round."
    if busy:
        text += (
            " The share of the CPU is what is left to it where all threads, those of the busy "
            "processes too, have the same share of the cores."
        )
    picture = "![How many times as fast as one thread](benchmarks/threads.svg)"
    return section("Threads", source(record), prose(text), picture, table(rows))


def first_epoch(gathered: Gathered) -> str | None:
    """From the start of Python."""
    record = gathered.part("first_epoch")
    if record is None:
        return None
    rows = [["", "until", "seconds"]]
    for name, seconds in figures.first_epochs(record).items():
        until = "an epoch" if name in OWN else f"{record.options['steps']} steps"
        rows.append([PEERS[name].label, until, seconds.told(".2f")])
    return section(
        "From Python's start",
        source(record),
        prose(
            f"Seconds from the start of a new process until `{record.options['net']}` has trained: "
            "import, data, build, compile, train; nothing is taken from a cache on the disk."
        ),
        "![Seconds from Python's start](benchmarks/first-epoch.svg)",
        table(rows),
        *_imports(gathered),
    )


def _imports(gathered: Gathered) -> list[str]:
    """What importing alone costs, where it was measured beside the nets."""
    rows = [["importing alone, on the code of the nets", "seconds"]]
    for run in gathered.runs():
        for statement, seconds in run.imports.items():
            told = summarise(seconds).told(".2f") if seconds else "it failed"
            rows.append([f"`{statement}`", told])
    return [table(rows)] if len(rows) > 1 else []


def compile_time(gathered: Gathered) -> str | None:
    """Compiling, and loading from the disk."""
    record = gathered.part("compile_time")
    if record is None:
        return None
    rows = [["net", "compile, s", "until LLVM begins", "in LLVM", "load from the disk, s"]]
    for net in record.samples:
        times = figures.compile_times(record, net)
        names = ("whole", "before", "within", "loaded")
        rows.append([net, *(times[name].told(".3f") for name in names)])
    return section("Compiling", source(record), table(rows))


def recipes(gathered: Gathered) -> str | None:
    """Time to accuracy."""
    record = gathered.part("recipes")
    if record is None:
        return None
    rows = [["recipe", "seeds", "test accuracy, %", "at 99 % or above", "training, s"]]
    rows[0] += ["compiling, s"]
    for recipe, results in record.samples.items():
        values = figures.accuracies(results)
        compiling = summarise([result["compile_seconds"] for result in results])
        half = f" +- {interval(values):.2f}" if len(values) > 1 else ""
        rows.append(
            [
                *(recipe, str(len(results)), f"{statistics.mean(values):.2f}{half}"),
                *(str(sum(value >= 99 for value in values)),),
                *(figures.training_seconds(results).told(".2f"), compiling.told(".2f")),
            ]
        )
    return section(
        "Time to accuracy",
        source(record),
        prose(
            "MNIST's test images, after `convmill train --recipe`; mean and Student's 95 % "
            "interval of the mean, a process for each seed. Training alone, and compiling apart."
        ),
        "![Test accuracy over seconds of training](benchmarks/recipes.svg)",
        table(rows),
    )


def checkpoints(gathered: Gathered) -> str | None:
    """What checkpoints cost."""
    record = gathered.part("checkpoints")
    if record is None:
        return None
    every, usual = record.options["every"], DEFAULT_SECONDS
    rows = [["net", "without, images/s", f"one every {every:g} s", "cost"]]
    rows[0] += [f"at the default {usual:g} s", "a step is delayed by, ms", "states"]
    for net, found in record.samples.items():
        without, kept = summarise(found["without"]), summarise(found["with"])
        cost = max(0.0, 1 - kept.median / without.median)
        delays = [1000 * each for each in found["delay_seconds"]]
        told = summarise(delays).told(".1f") if delays else "-"
        cells = [without.told(), kept.told(), f"{cost:.1%}", f"{cost * every / usual:.2%}"]
        rows.append([net, *cells, told, str(len(delays))])
    text = (
        "Images/s are to be compared along a row, not with those of Training: here one process by "
        "itself trains on random images and labels, a stretch at a time; there calls of `fit` take "
        "turns with other frameworks, on MNIST where it is there and fits the net. How much relu "
        "turns off, and is not computed, depends on the images and on how long they were trained."
    )
    return section("Checkpoints", source(record), prose(text), table(rows))


SECTIONS: Sequence[Callable[[Gathered], str | None]] = (
    *(engines.speed, latency, threads, first_epoch, compile_time, recipes),
    *(engines.memory, checkpoints),
)
