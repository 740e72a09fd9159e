"""Threads where the system gives none, and locks where a process is forked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def mapped(task: Callable[[Item], Found], items: Iterable[Item], workers: int) -> list[Found]:
    """``task`` of all items, in their order, done in up to ``workers`` threads; in this one where
    the system gives none. An interrupt does not wait for the tasks at hand; the others are dropped.
    """
    items = list(items)
    threads = ThreadPoolExecutor(workers, thread_name_prefix="convmill")
    try:
        found = list(threads.map(task, items))
    except RuntimeError as error:
        threads.shutdown()
        if not is_refusal(error):
            raise
        return [task(item) for item in items]
    except BaseException as error:
        threads.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    threads.shutdown()
    return found


def is_refusal(error: RuntimeError) -> bool:
    """Whether Python says that it can start no thread."""
    return "start new thread" in str(error) or "schedule new futures" in str(error)


def lock_over_forks() -> threading.RLock:
    """A lock for which forks wait: a child that is made while another thread has it would find it
    locked for ever, and what it guards half done."""
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


def after_fork_in_child(call: Callable[[], object]) -> None:
    """Has ``call`` called in the children of forks, in which this thread alone goes on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
