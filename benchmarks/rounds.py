"""The interleaving: all peers of a net live at once, each round asks each for a timed chunk."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.nets import Net
from benchmarks.peers import Peer
from benchmarks.process import WorkerError, WorkerProcess
from benchmarks.results import Chunk, NetResult, PeerResult, Trial

EVALUATION_BATCHES = (64, 256, 1024)


@dataclass(frozen=True)
class Settings:
    """Seconds are those of one timed chunk; `starting` is how many peers start at once."""

    threads: int
    repeats: int
    train_seconds: float
    evaluate_seconds: float
    dtype: str
    starting: int = 1


class Contender:
    """A peer in the ring: its process while it lives, and its result."""

    def __init__(self, peer: Peer, net: Net, settings: Settings) -> None:
        self.peer, self.net, self.settings = peer, net, settings
        self.result = PeerResult(peer.name, peer.label)
        self.worker: WorkerProcess | None = None

    def attempt(self, turn: Callable[["Contender", WorkerProcess], None]) -> None:
        """Take a turn if still alive; a failure ends the process and becomes the result's note."""
        if self.worker is None:
            return
        try:
            turn(self, self.worker)
        except WorkerError as error:
            self.result.note = str(error)
            self.stop()

    def launch(self) -> None:
        """Start the process; what it cannot do becomes the result's note."""
        try:
            self.worker = WorkerProcess(self.peer, self.settings.threads)
        except (WorkerError, OSError) as error:
            self.result.note = str(error)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None


def _begin(contender: Contender, worker: WorkerProcess) -> None:
    peer, settings, result = contender.peer, contender.settings, contender.result
    answer = worker.build("start", contender.net.name, settings.dtype)
    for name, value in answer.items():
        setattr(result, name, value)
    if peer.target not in (None, result.target):  # as a checkout that knows no targets
        raise WorkerError(f"it was to compile for {peer.target} and did not")


def _try(contender: Contender, worker: WorkerProcess) -> None:
    settings, result = contender.settings, contender.result
    for batch in EVALUATION_BATCHES:
        trial = worker.ask("trial", batch=batch)
        result.trials.append(
            Trial(batch, trial["first_seconds"], trial["images"] / trial["seconds"])
        )
    result.evaluation_batch = max(result.trials, key=lambda trial: trial.rate).batch
    worker.ask("train", seconds=settings.train_seconds / 4)


def _round(contender: Contender, worker: WorkerProcess) -> None:
    result, settings = contender.result, contender.settings
    result.training.append(Chunk(**worker.ask("train", seconds=settings.train_seconds)))
    batch = result.evaluation_batch
    trial = next(trial.rate for trial in result.trials if trial.batch == batch)
    rate = result.evaluation[-1].rate if result.evaluation else trial
    tested = worker.ask("evaluate", batch=batch, rate=rate, seconds=settings.evaluate_seconds)
    result.evaluation.append(Chunk(**tested))


def _memory(contender: Contender, worker: WorkerProcess) -> None:
    contender.result.peak_memory = worker.ask("memory")["bytes"]


def _at_once(
    count: int, work: Callable[[Contender], None], contenders: Sequence[Contender]
) -> None:
    """Do so many at a time; an interrupt waits for none of them."""
    pool = ThreadPoolExecutor(count)
    try:
        list(pool.map(work, contenders))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def measure(
    net: Net,
    peers: list[Peer],
    settings: Settings,
    peak: Callable[[], float],
    tell: Callable[[str], None],
) -> NetResult:
    """Measure all peers on one net.

    `peak` measures the machine's GFLOP/s, once a round; `tell` takes a line of progress.
    """
    contenders = [Contender(peer, net, settings) for peer in peers]

    def start(contender: Contender) -> None:
        tell(f"{net.name}: starting {contender.peer.label}")
        contender.launch()
        contender.attempt(_begin)

    peaks: list[float] = []
    try:
        _at_once(settings.starting, start, contenders)
        for contender in contenders:
            tell(f"{net.name}: trying batches, {contender.peer.label}")
            contender.attempt(_try)
        for number in range(settings.repeats):
            peaks.append(peak())
            # Another one begins in each round: nobody always follows the same neighbour's heat.
            first = number % len(contenders)
            for contender in contenders[first:] + contenders[:first]:
                tell(
                    f"{net.name}: round {number + 1} of {settings.repeats}, {contender.peer.label}"
                )
                contender.attempt(_round)
        for contender in contenders:
            contender.attempt(_memory)
    finally:
        _at_once(len(contenders), Contender.stop, contenders)
    return NetResult(net.name, [contender.result for contender in contenders], peaks)
