"""The figures that tables, targets and pictures share; None where one was not measured."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import costs, threads
from benchmarks.latency import of_call
from benchmarks.nets import NETS
from benchmarks.page.gathered import Gathered, Net
from benchmarks.peers import OURS, OWN
from benchmarks.record import Record
from benchmarks.results import Summary, summarise

AVX2, BEFORE = "convmill-avx2", "before"
MNIST_IMAGES, NOTEBOOK_EPOCHS = 60_000, 5  # what the notebook trains on, and how often


def ratios(gathered: Gathered, what: str, name: str = OURS) -> dict[str, float]:
    """Over the best peer, of each net where both were measured."""
    found = {net: each.result.over_best(what, name) for net, each in gathered.nets.items()}
    return {net: ratio for net, ratio in found.items() if ratio is not None}


def least(values: dict[str, float]) -> tuple[float, str]:
    """The least of at least one, and whose it is."""
    name = min(values, key=lambda name: values[name])
    return values[name], name


def roof(net: Net, what: str) -> float | None:
    """Images a second that keep all FMA units of the run's machine busy, with nothing skipped."""
    return costs.roof(NETS[net.result.name], what, net.run.peak_gigaflops)


def over_roof(net: Net, what: str) -> float | None:
    """Convmill's share of the dense roofline."""
    ours, limit = net.result.measured(OURS), roof(net, what)
    return ours.summary(what).median / limit if ours and limit else None


def calls(latency: Record, call: str) -> dict[str, Summary]:
    """Microseconds of one image by peer, the fastest first."""
    found = {name: of_call(samples, call) for name, samples in latency.samples.items()}
    there = {name: summary for name, summary in found.items() if summary is not None}
    return dict(sorted(there.items(), key=lambda each: each[1].median))


def sooner(summaries: dict[str, Summary]) -> float | None:
    """How many times as long as convmill the quickest peer takes."""
    others = [each.median for name, each in summaries.items() if name not in OWN]
    ours = summaries.get(OURS)
    return min(others) / ours.median if ours and others else None


def first_epochs(record: Record) -> dict[str, Summary]:
    """Seconds from the start of Python by peer."""
    return {name: summarise(seconds) for name, seconds in record.samples.items() if seconds}


def speedups(record: Record) -> dict[str, dict[int, Summary]]:
    """By net and number of threads: how many times as fast as one."""
    return {
        net: {
            int(count): threads.ratios(chunks[threads.ALONE], counts["1"][threads.ALONE])
            for count, chunks in counts.items()
        }
        for net, counts in record.samples.items()
    }


def beside_busy(record: Record) -> dict[str, dict[int, Summary]]:
    """By net and number of threads: the rate beside busy processes over that alone."""
    return {
        net: {
            int(count): threads.ratios(chunks[threads.BESIDE], chunks[threads.ALONE])
            for count, chunks in counts.items()
            if chunks[threads.BESIDE]
        }
        for net, counts in record.samples.items()
    }


def fair_share(record: Record, count: int) -> float:
    """The share of what they have alone that so many threads have beside the busy processes."""
    return threads.fair_share(count, record.options["busy"], record.machine["cores"])


def compile_times(record: Record, net: str) -> dict[str, Summary]:
    """Seconds: all of compiling, until LLVM begins, within LLVM, and of loading from the disk."""
    samples = record.samples[net]
    before, within, whole = zip(*samples["compiled"], strict=True)
    loaded = [each[2] for each in samples["loaded"]]
    parts = {"whole": whole, "before": before, "within": within, "loaded": loaded}
    return {name: summarise(seconds) for name, seconds in parts.items()}


def over_base(peer: Any, what: str = "trained_memory") -> float | None:
    """Bytes over what the process held with its framework imported and the data loaded."""
    most = getattr(peer, what)
    return most - peer.base_memory if most and peer.base_memory else None


def accuracies(results: list[dict[str, Any]]) -> list[float]:
    """Test accuracies of a recipe's trainings, in percent."""
    return [100 * result["test"]["accuracy"] for result in results]


def training_seconds(results: list[dict[str, Any]]) -> Summary:
    """Of a recipe's trainings, compiling apart."""
    return summarise([result["training_seconds"] for result in results])


def notebook_seconds(gathered: Gathered) -> float | None:
    """How long Keras on TensorFlow trains the notebook's epochs, from its rate beside the peers."""
    net = gathered.nets.get("notebook")
    peer = net.result.measured("keras-tensorflow") if net else None
    if peer is None:
        return None
    return NOTEBOOK_EPOCHS * MNIST_IMAGES / peer.summary("training").median


def geometric_mean(values: dict[str, float]) -> float:
    return statistics.geometric_mean(values.values())
