"""Threads live on between runs, and each run has all of its own at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from convmill.runtime import workers

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600


class Code:
    """Stands for native code: ``body(thread)`` in each thread."""

    def __init__(self, body):
        self.body = body
        self.threads = []

    def entry(self, address, number):
        self.threads.append((number, threading.get_ident()))
        self.body(number)


class Context(dict):
    """Stands for the memory that native code shares with Python."""

    address = 0


@pytest.fixture
def parked(monkeypatch):
    """The threads that are free, none at first."""
    found = []
    monkeypatch.setattr(workers, "_parked", found)
    return found


def look():
    return False


def meeting(count):
    """Code whose threads wait for each other."""
    barrier = threading.Barrier(count, timeout=PATIENCE)
    return Code(lambda number: barrier.wait())


def test_the_same_threads_serve_again(parked):
    first, second = meeting(3), meeting(3)
    workers.run(first, Context(), 3, look)
    workers.run(second, Context(), 3, look)
    assert sorted(number for number, _ in first.threads) == [0, 1, 2]
    assert {thread for _, thread in first.threads} == {thread for _, thread in second.threads}
    assert len(parked) == 3
    assert threading.get_ident() not in {thread for _, thread in first.threads}


def test_a_short_run_on_one_thread_is_the_callers(parked):
    code, context = meeting(1), Context()
    workers.run(code, context, 1, None)
    assert code.threads == [(0, threading.get_ident())]
    assert parked == []
    assert context["threads"] == 1


def test_the_caller_is_one_of_the_threads_of_a_short_run(parked):
    code, context = meeting(3), Context()
    workers.run(code, context, 3, None)
    assert (0, threading.get_ident()) in code.threads
    assert len(parked) == 2
    assert context["threads"] == 3


def test_runs_side_by_side_have_threads_of_their_own(parked):
    """Each of these runs ends only if all threads of both are there."""
    code = meeting(6)
    callers = [threading.Thread(target=workers.run, args=(code, Context(), 3, look)) for _ in "ab"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len({thread for _, thread in code.threads}) == len(parked) == 6


@pytest.mark.parametrize("given", [0, 1, 2])
def test_fewer_threads_than_were_wanted(parked, monkeypatch, given):
    start, started = threading.Thread.start, []

    def refuse(thread):
        if len(started) == given:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    code, context = Code(lambda number: None), Context()
    with pytest.warns(RuntimeWarning, match=f"3 threads were wanted, {given} could be had .*start"):
        workers.run(code, context, 3, look)
    assert context["threads"] == len(code.threads) == max(1, given)
    assert len(parked) == given


def test_a_warning_that_is_an_error_loses_no_thread(parked, monkeypatch):
    def refuse(thread):
        raise MemoryError

    workers.run(meeting(2), Context(), 2, look)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    code = Code(lambda number: None)
    with pytest.raises(RuntimeWarning, match="Lower the number of threads"):
        workers.run(code, Context(), 3, look)
    assert code.threads == []
    assert len(parked) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_a_look_raises_waits_for_all_threads(parked, error):
    context, began, done = Context(stop=0), threading.Event(), []

    def body(number):
        began.set()
        while not context["stop"]:
            pass
        done.append(number)

    def look():
        if began.is_set():
            raise error

    with pytest.raises(error):
        workers.run(Code(body), context, 2, look)
    assert sorted(done) == [0, 1]


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # Python warns of forks in processes of several threads
import numpy as np
from tests.engine import test_workers
from convmill.runtime import workers
run = lambda: workers.run(test_workers.meeting(2), test_workers.Context(), 2, lambda: False)
run()
child = os.fork()
if child == 0:
    run()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(workers._parked))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_starts_threads_of_its_own():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout == "7 2\n", done.stderr


def test_every_item_of_a_run_counts(parked):
    """Many runs one behind the other, on threads that are not yet parked again."""
    total = np.zeros(4, np.int64)

    def body(number):
        total[number] += 1

    for _ in range(300):
        workers.run(Code(body), Context(), 4, None)
    np.testing.assert_array_equal(total, 300)
