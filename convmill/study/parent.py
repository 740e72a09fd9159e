"""A worker does not outlive the study that it works for, however that ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from functools import cache

LOOK_SECONDS = 0.5


@cache
def end_with(parent: int) -> None:
    """From now on this process ends as soon as the process ``parent`` has ended, if that has
    started it; a study that is killed cannot end its workers, which would train on for nobody."""
    if os.getppid() == parent:
        watch = threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True)
        with contextlib.suppress(RuntimeError):  # the system has no thread to give
            watch.start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
