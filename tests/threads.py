"""Works side by side, in a thread each."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE = 600


def together(*works: Callable[[], object]) -> None:
    """Does works side by side, in a thread each; raises what one of them raised."""
    failed: list[BaseException] = []
    ready = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            ready.wait(PATIENCE)
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it waits for ever"
    if failed:
        raise failed[0]
