"""What the project wants of its speed, and whether it was measured so."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.nets import NETS
from benchmarks.page import figures
from benchmarks.page.gathered import Gathered
from benchmarks.peers import OURS, OWN
from benchmarks.results import summarise

COMPARED = {
    "at least": operator.ge,
    "above": operator.gt,
    "at most": operator.le,
    "below": operator.lt,
}


@dataclass(frozen=True)
class Found:
    """A measured figure, what is to be known of it, and whether all was measured that it is of."""

    value: float
    note: str = ""
    whole: bool = True


@dataclass(frozen=True)
class Target:
    """`how` is one of `COMPARED`; `form` says how figures of this kind are written."""

    what: str
    how: str
    bound: float
    measured: Callable[[Gathered], Found | None]
    form: str = "{:.3g}"

    def wanted(self) -> str:
        return f"{self.how} {self.form.format(self.bound)}"

    def met(self, found: Found) -> str:
        """Nothing is met by a part of what is wanted."""
        if not COMPARED[self.how](found.value, self.bound):
            return "no"
        return "yes" if found.whole else "-"


def _net(name: str, what: str) -> Callable[[Gathered], Found | None]:
    """One net over its best peer."""

    def measured(gathered: Gathered) -> Found | None:
        ratio = figures.ratios(gathered, what).get(name)
        return None if ratio is None else Found(ratio)

    return measured


def _roof(gathered: Gathered) -> Found | None:
    net = gathered.nets.get("notebook")
    share = figures.over_roof(net, "training") if net else None
    return None if share is None else Found(share)


def _least(what: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        ratios = figures.ratios(gathered, what)
        if not ratios:
            return None
        value, name = figures.least(ratios)
        return Found(value, f"`{name}`, of {len(ratios)} nets", len(ratios) == len(NETS))

    return measured


def _mean(what: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        ratios = figures.ratios(gathered, what)
        if not ratios:
            return None
        mean = figures.geometric_mean(ratios)
        return Found(mean, f"of {len(ratios)} nets", len(ratios) == len(NETS))

    return measured


def _call(call: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        record = gathered.part("latency")
        ratio = figures.sooner(figures.calls(record, call)) if record else None
        return None if ratio is None else Found(ratio)

    return measured


def _compiled(net: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        record = gathered.part("compile_time")
        if record is None or net not in record.samples:
            return None
        return Found(figures.compile_times(record, net)["whole"].median)

    return measured


def _loaded(gathered: Gathered) -> Found | None:
    record = gathered.part("compile_time")
    if record is None:
        return None
    times = {net: figures.compile_times(record, net)["loaded"].median for net in record.samples}
    slowest = max(times, key=lambda net: times[net])
    return Found(times[slowest], f"`{slowest}`, of {len(times)} nets")


def _first_epoch(gathered: Gathered) -> Found | None:
    record = gathered.part("first_epoch")
    ratio = figures.sooner(figures.first_epochs(record)) if record else None
    return None if ratio is None else Found(1 / ratio)


def _memory(gathered: Gathered) -> Found | None:
    net = gathered.nets.get("notebook")
    ours = net.result.measured(OURS) if net else None
    trained = figures.over_base(ours) if ours else None
    built = figures.over_base(ours, "built_memory") if ours else None
    if trained is None or built is None:
        return None
    return Found(trained / 1e6, f"{built / 1e6:.0f} of them once Keras has built the model")


def _least_memory(gathered: Gathered) -> Found | None:
    net = gathered.nets.get("notebook")
    peers = [peer for peer in net.result.peers if peer.measured and peer.peak_memory] if net else []
    ours = [peer.peak_memory for peer in peers if peer.name == OURS]
    others = {peer.label: peer.peak_memory or 0 for peer in peers if peer.name not in OWN}
    if not ours or not others:
        return None
    label = min(others, key=lambda label: others[label])
    return Found((ours[0] or 0) / others[label], f"over {label}")


def _two_threads(gathered: Gathered) -> Found | None:
    record = gathered.part("threads")
    found = figures.speedups(record) if record else {}
    ratios = {net: counts[2].median for net, counts in found.items() if 2 in counts}
    if not ratios:
        return None
    value, name = figures.least(ratios)
    return Found(value, f"`{name}`, of {len(ratios)} nets")


def _busy(gathered: Gathered) -> Found | None:
    record = gathered.part("threads")
    if record is None:
        return None
    ratios = {
        f"{net}` with {count} threads": found.median / figures.fair_share(record, count)
        for net, counts in figures.beside_busy(record).items()
        for count, found in counts.items()
        if count > 1
    }
    if not ratios:
        return None
    value, name = figures.least(ratios)
    return Found(value, f"`{name}")


def _accuracy(recipe: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        record = gathered.part("recipes")
        results = record.samples.get(recipe) if record else None
        if not results:
            return None
        return Found(statistics.mean(figures.accuracies(results)), f"mean of {len(results)} seeds")

    return measured


def _recipe_seconds(recipe: str) -> Callable[[Gathered], Found | None]:
    def measured(gathered: Gathered) -> Found | None:
        record = gathered.part("recipes")
        results = record.samples.get(recipe) if record else None
        if not results:
            return None
        compiling = summarise([result["compile_seconds"] for result in results])
        seconds = figures.training_seconds(results)
        return Found(seconds.median, f"compiling {compiling.median:.2f} s apart")

    return measured


def _notebook_fast(gathered: Gathered) -> Found | None:
    seconds, whole = _recipe_seconds("notebook-fast")(gathered), figures.notebook_seconds(gathered)
    return Found(seconds.value / whole, f"{whole:.0f} s there") if seconds and whole else None


SECONDS, MEGABYTES, PERCENT = "{:.3g} s", "{:.3g} MB", "{:.2f} %"
ALL = f"all {len(NETS)} nets"
BEST = "over the best peer"
IMAGE = "one image, the quickest peer's time over convmill's:"
TARGETS = (
    Target(f"notebook, training {BEST}", "at least", 8, _net("notebook", "training")),
    Target("notebook, training over the dense roofline", "at least", 2, _roof),
    Target(f"notebook, evaluation {BEST}", "at least", 4, _net("notebook", "evaluation")),
    Target(f"{IMAGE} `predict_on_batch`", "at least", 5, _call("predict_on_batch")),
    Target(f"{IMAGE} `predict`", "at least", 5, _call("predict")),
    Target(f"{IMAGE} `train_on_batch`", "at least", 10, _call("train_on_batch")),
    Target(f"{ALL}, training {BEST}: least", "at least", 1.2, _least("training")),
    Target(f"{ALL}, training {BEST}: geometric mean", "at least", 4, _mean("training")),
    Target(f"{ALL}, evaluation {BEST}: least", "at least", 1.2, _least("evaluation")),
    Target(f"{ALL}, evaluation {BEST}: geometric mean", "at least", 2.5, _mean("evaluation")),
    Target(
        "compiling the notebook, nothing on disk", "below", 0.5, _compiled("notebook"), "{:.3g} s"
    ),
    Target("compiling ResNet-20, nothing on disk", "below", 2, _compiled("resnet-20"), SECONDS),
    Target("loading code from the disk", "below", 0.05, _loaded, SECONDS),
    Target(
        "start of Python to the end of the first epoch, over what the soonest peer needs to its "
        "50th step",
        "below",
        1,
        _first_epoch,
    ),
    Target(
        "notebook, peak memory over the data and Keras itself", "below", 64, _memory, "{:.3g} MB"
    ),
    Target("notebook, peak memory over the least of the peers", "at most", 1, _least_memory),
    Target("two threads over one", "at least", 1.85, _two_threads),
    Target("beside a busy process, over the share of the CPU", "at least", 1, _busy),
    Target("MNIST, recipe `fast`: test accuracy", "at least", 99, _accuracy("fast"), PERCENT),
    Target("MNIST, recipe `fast`: training alone", "below", 1, _recipe_seconds("fast"), SECONDS),
    Target(
        "MNIST, recipe `notebook-fast`: test accuracy",
        *("at least", 99.23, _accuracy("notebook-fast"), PERCENT),
    ),
    Target(
        "its training over five epochs of the notebook by Keras on TensorFlow",
        *("at most", 1 / 20, _notebook_fast),
    ),
)


def rows(gathered: Gathered) -> list[list[str]]:
    """A row for each target; the first holds the headings."""
    found = [["", "target", "measured", "met"]]
    for target in TARGETS:
        measured = target.measured(gathered)
        if measured is None:
            found.append([target.what, target.wanted(), "not measured", "-"])
            continue
        note = f" ({measured.note})" if measured.note else ""
        told = target.form.format(measured.value) + note
        found.append([target.what, target.wanted(), told, target.met(measured)])
    return found
