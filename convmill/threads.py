"""Threads where the system gives none, and locks where a process is forked."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_REFUSED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)

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


def is_refusal(error: BaseException | None) -> bool:
    """Whether it was raised as the system gives no thread, no process, or no file that they need;
    what was raised while another error was dealt with counts as that one."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return True
    texts = ("start new thread", "schedule new futures")
    return any(text in str(error) for text in texts) or is_refusal(error.__context__)


def can_start(count: int) -> bool:
    """Whether the system gives so many more threads: they are started, and end at once."""
    may_end = threading.Event()
    threads = [threading.Thread(target=may_end.wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:  # what starts no thread says nothing else
        return False
    finally:
        may_end.set()
    return True


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
