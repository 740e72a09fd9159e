"""The loop of a worker process: one JSON request a line on standard input, one line as answer.

Between requests it is blocked on its pipe, so that the peer whose turn it is has the machine to
itself. It ends when the pipe closes. Answers go through a private copy of standard output: what a
framework prints goes to standard error.
"""

import contextlib
import importlib
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

from benchmarks.nets import NETS
from benchmarks.workers.trainer import Span, Trainer, span

TURN_STEPS, TURN_SECONDS = 3, 0.2
TRIAL_SECONDS = 0.15
WARM_CALLS = 20
Answer = dict[str, Any]


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    value = work(*arguments)
    return time.perf_counter() - start, value


def _import_all(modules: list[str]) -> ModuleType:
    """Import them in order and return the last."""
    return [importlib.import_module(module) for module in modules][-1]


def _busy_seconds() -> float | None:
    """Core-seconds that the whole machine was busy, or held up, since its start; None unknown."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, _, _, interrupt, soft, steal = map(
                int, stat.readline().split()[1:9]
            )
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")


def _chunk(total: int, work: Callable[..., float], *arguments: Any) -> Answer:
    """Time work on `total` images; `others` is how many cores everything else took meanwhile."""
    busy, own = _busy_seconds(), time.process_time()
    seconds, value = _timed(work, *arguments)
    own, busy_after = time.process_time() - own, _busy_seconds()
    others = (
        None
        if busy is None or busy_after is None
        else max(0.0, (busy_after - busy - own) / seconds)
    )
    return {
        "images": total,
        "seconds": seconds,
        "cores": own / seconds,
        "others": others,
        "value": value,
    }


def peak_memory() -> int | None:
    """The most bytes this process ever held resident; None where the system has no /proc."""
    # Not getrusage: on Linux its figure starts from that of the process that started this one.
    try:
        with open("/proc/self/status") as status:
            kibibytes = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(kibibytes) * 1024


class Worker:
    """One framework, one net; its rate turns seconds into numbers of images."""

    trainer: Trainer

    def start(self, request: Answer) -> Answer:
        """Import the framework, build the model, take the first step (it compiles), warm up."""
        answer = self._build(request)
        first_step_seconds, _ = _timed(self.trainer.train, Span(self.batch, 1))
        self.trainer.touch_all()
        self._train(Span(self.batch, 1))
        trained = peak_memory()
        return {**answer, "first_step_seconds": first_step_seconds, "trained_memory": trained}

    def begin(self, request: Answer) -> Answer:
        """Import, build, and train the first `steps`, or one epoch."""
        answer, steps = self._build(request), request["steps"]
        images = self.available if steps is None else steps * self.batch
        self.trainer.train(Span(images, 1))
        return answer

    def _build(self, request: Answer) -> Answer:
        """Import the framework and build the model."""
        threads = request["threads"]
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        module, _, name = request["trainer"].partition(":")
        import_seconds, imported = _timed(_import_all, [*request["imports"], module])
        # Only now: NumPy, which it needs, belongs to the import that is timed.
        from benchmarks import images

        net = NETS[request["net"]]
        data = images.load(net, request["dtype"])
        base_memory = peak_memory()
        self.batch, self.available, self.test_available = net.batch, len(data.x), len(data.x_test)
        build_seconds, self.trainer = _timed(
            getattr(imported, name), net, data, threads, request["options"]
        )
        if self.trainer.parameters != net.parameters:
            raise ValueError(
                f"{net.name} should have {net.parameters} parameters. "
                f"Received: {self.trainer.parameters}."
            )
        return {
            "import_seconds": import_seconds,
            "build_seconds": build_seconds,
            "base_memory": base_memory,
            "built_memory": peak_memory(),
            "data": data.source,
            "target": getattr(self.trainer, "target", None),
            "versions": _versions(request["packages"]),
        }

    def _train(self, work: Span) -> Answer:
        chunk = _chunk(work.total, self.trainer.train, work)
        self.rate = chunk["images"] / chunk["seconds"]
        return chunk

    def train(self, request: Answer) -> Answer:
        """One timed chunk of about `seconds`, its length taken from the rate of the chunk before.

        A few steps that do not count go first, as many as are short, but one at least: while others
        had their turn, caches and pages of code went cold.
        """
        steps = min(TURN_STEPS, max(1, int(self.rate * TURN_SECONDS / self.batch)))
        self.trainer.train(Span(steps * self.batch, 1))
        wanted = int(self.rate * request["seconds"])
        return self._train(span(wanted, self.available, self.batch))

    def trial(self, request: Answer) -> Answer:
        """Evaluation at one batch size: the first batch (it compiles), the better of two chunks; or
        one batch where it takes as long as those."""
        batch = request["batch"]
        work = Span(batch, 1)
        first, _ = _timed(self.trainer.evaluate, work, batch)
        seconds, _ = _timed(self.trainer.evaluate, work, batch)
        if seconds < 2 * TRIAL_SECONDS:
            work = span(int(batch / seconds * TRIAL_SECONDS), self.test_available, batch)
            seconds = min(_timed(self.trainer.evaluate, work, batch)[0] for _ in range(2))
        return {"first_seconds": first, "images": work.total, "seconds": seconds}

    def evaluate(self, request: Answer) -> Answer:
        """One timed chunk of about `seconds` at `batch`, given the `rate` of the one before."""
        batch = request["batch"]
        self.trainer.evaluate(Span(batch, 1), batch)
        work = span(int(request["rate"] * request["seconds"]), self.test_available, batch)
        return _chunk(work.total, self.trainer.evaluate, work, batch)

    def latency(self, request: Answer) -> Answer:
        """The median of single calls with one image, for about `seconds`, in microseconds; None
        where the framework has no such call."""
        call = self.trainer.one_image(request["call"])
        if call is None:
            return {"microseconds": None}
        end = time.perf_counter() + request["seconds"]
        for _ in range(WARM_CALLS):
            call()
        times: list[float] = []
        while not times or time.perf_counter() < end:
            times.append(_timed(call)[0])
        return {"microseconds": 1e6 * statistics.median(times), "calls": len(times)}

    def memory(self, request: Answer) -> Answer:
        return {"bytes": peak_memory()}


def _versions(packages: list[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):  # under another name
            found[package] = metadata.version(package)
    return found


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    handlers = {
        name: getattr(worker, name)
        for name in ("start", "begin", "train", "trial", "evaluate", "latency", "memory")
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request["do"]](request)
        except Exception as error:
            traceback.print_exc()
            message = str(error).strip() or "no message"
            answer = {"error": f"{type(error).__name__}: {message.splitlines()[0]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
