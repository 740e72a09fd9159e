"""What a run measured: every raw sample, and the figures taken from them."""

import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    names the instructions that convmill compiled for."""

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
    peak_memory: int | None = None

    @property
    def measured(self) -> bool:
        return self.note is None and bool(self.training) and bool(self.evaluation)


@dataclass
class NetResult:
    """One net: the peers, and the machine's peak in GFLOP/s measured in each round."""

    name: str
    peers: list[PeerResult]
    peak_gigaflops: list[float]


@dataclass
class Run:
    """A whole run of the benchmark. `imports` holds seconds by statement."""

    machine: dict[str, Any]
    options: dict[str, Any]
    single_thread_gigaflops: list[float]
    imports: dict[str, list[float]]
    nets: list[NetResult]

    @property
    def peak_gigaflops(self) -> float | None:
        """The best of all rounds: whatever else runs can only lower a sample."""
        return max((sample for net in self.nets for sample in net.peak_gigaflops), default=None)


def write_json(run: Run, file: Path) -> None:
    """Write every sample of the run, whole or not at all."""
    text = json.dumps(dataclasses.asdict(run), indent=1) + "\n"
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
