"""Running native code on several threads, while the calling thread looks at it now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from convmill.runtime.jit import Compiled
from convmill.runtime.memory import Context

LOOK_SECONDS = 0.05


def run(code: Compiled, context: Context, threads: int, look: Callable[[], None]) -> None:
    """Run a program on ``threads`` threads, calling ``look`` some twenty times a second.

    What ``look`` raises, an interrupt too, stops the threads behind the step they are in, and goes
    on when they have stopped.
    """
    gate, abandoned = threading.Event(), threading.Event()

    def work(number: int) -> None:
        gate.wait()
        if not abandoned.is_set():
            code.entry(context.address, number)

    workers = [
        threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)
    ]
    abandoned.set()
    try:
        for worker in workers:
            worker.start()
        abandoned.clear()  # all of them are there: none will wait at a barrier for ever
        gate.set()
        for worker in workers:
            while worker.is_alive():
                worker.join(LOOK_SECONDS)
                if worker.is_alive():
                    look()
    finally:
        context["stop"] = 1
        gate.set()
        _wait(workers)


def _wait(workers: Sequence[threading.Thread]) -> None:
    """Wait for threads to stop, whatever comes: until then they write to our memory."""
    interrupted: KeyboardInterrupt | None = None
    for worker in workers:
        while worker.is_alive():
            try:
                worker.join()
            except KeyboardInterrupt as error:
                interrupted = error
    if interrupted is not None:
        raise interrupted
