"""What a run measured: every raw sample, and the figures taken from them."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import OURS, OWN
from benchmarks.record import Record

WHAT = ("training", "evaluation")  # what is timed of a peer on a net


@dataclass(frozen=True)
class Chunk:
    """One timed stretch of work.

    `cores` is how many the peer kept busy, `others` how many everything else on the machine took
    meanwhile (None where the system does not tell); `value` is the training loss or the test
    accuracy, to show that the work was real.
    """

    images: int
    seconds: float
    cores: float
    others: float | None
    value: float

    @property
    def rate(self) -> float:
        return self.images / self.seconds


@dataclass(frozen=True)
class Summary:
    """Median, least and greatest of some samples."""

    median: float
    low: float
    high: float

    def told(self, form: str = ",.0f") -> str:
        """The median, with the least and the greatest."""
        return f"{self.median:{form}} ({self.low:{form}}..{self.high:{form}})"


def summarise(samples: Sequence[float]) -> Summary:
    """The summary of at least one sample."""
    return Summary(statistics.median(samples), min(samples), max(samples))


@dataclass(frozen=True)
class Trial:
    """The first evaluation at a batch size (with its compilation), and a short one after it."""

    batch: int
    first_seconds: float
    rate: float


@dataclass
class PeerResult:
    """What one peer did on one net; `note` says why it has no figures, where it has none. `target`
    names the instructions that convmill compiled for.

    Memory is the most bytes that the process had held once the framework was imported and the data
    were loaded, once the model was built, once it had trained, and after all else.
    """

    name: str
    label: str
    note: str | None = None
    import_seconds: float = 0.0
    build_seconds: float = 0.0
    first_step_seconds: float = 0.0
    data: str = ""
    target: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    evaluation_batch: int = 0
    training: list[Chunk] = field(default_factory=list)
    evaluation: list[Chunk] = field(default_factory=list)
    base_memory: int | None = None
    built_memory: int | None = None
    trained_memory: int | None = None
    peak_memory: int | None = None

    @property
    def measured(self) -> bool:
        return self.note is None and bool(self.training) and bool(self.evaluation)

    def summary(self, what: str) -> Summary:
        """Images a second, of one of `WHAT`."""
        return summarise([chunk.rate for chunk in getattr(self, what)])


def over(one: PeerResult | None, other: PeerResult | None, what: str) -> float | None:
    """How many times as fast as another one is; None where either has no figures."""
    if one is None or other is None:
        return None
    return one.summary(what).median / other.summary(what).median


@dataclass
class NetResult:
    """One net: the peers, and the machine's peak in GFLOP/s measured in each round."""

    name: str
    peers: list[PeerResult]
    peak_gigaflops: list[float]

    def measured(self, name: str) -> PeerResult | None:
        """The peer of this name, if it has figures."""
        return next((peer for peer in self.peers if peer.name == name and peer.measured), None)

    def best_other(self, what: str) -> PeerResult | None:
        """The fastest of those that are not convmill in one form or another."""
        others = [peer for peer in self.peers if peer.name not in OWN and peer.measured]
        return max(others, key=lambda peer: peer.summary(what).median, default=None)

    def over_best(self, what: str, name: str = OURS) -> float | None:
        """How many times as fast as the best of the others convmill is, in one form or another."""
        return over(self.measured(name), self.best_other(what), what)


@dataclass
class Run:
    """A whole run of the benchmark. `left_out` says which peers are not measured, and why;
    `imports` holds seconds by statement."""

    machine: dict[str, Any]
    options: dict[str, Any]
    left_out: list[str]
    single_thread_gigaflops: list[float]
    imports: dict[str, list[float]]
    nets: list[NetResult]

    @property
    def peak_gigaflops(self) -> float | None:
        """The best of all rounds: whatever else runs can only lower a sample."""
        return max((sample for net in self.nets for sample in net.peak_gigaflops), default=None)


def recorded(run: Run, begun: Record) -> Record:
    """The record that was begun, with what was measured until now."""
    samples = dataclasses.asdict(run)
    del samples["machine"], samples["options"]
    versions = {peer.name: peer.versions for net in run.nets for peer in net.peers if peer.versions}
    return dataclasses.replace(begun, samples=samples, versions=versions)


def run_of(record: Record) -> Run:
    """The run that was recorded."""
    nets = [
        NetResult(**{**net, "peers": [_peer_result(peer) for peer in net["peers"]]})
        for net in record.samples["nets"]
    ]
    return Run(record.machine, record.options, **{**record.samples, "nets": nets})


def _peer_result(fields: dict[str, Any]) -> PeerResult:
    kinds = {"trials": Trial, "training": Chunk, "evaluation": Chunk}
    lists = {name: [kind(**each) for each in fields[name]] for name, kind in kinds.items()}
    return PeerResult(**{**fields, **lists})
