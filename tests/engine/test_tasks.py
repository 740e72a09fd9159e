"""Which thread takes which tasks: those of its own share first, forwards or backwards, and of all
tasks each once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from convmill.kernels import ir
from convmill.kernels.context import tasks
from convmill.kernels.lang import I64, POINTER, Emitter
from convmill.runtime import host, machine_code
from convmill.runtime.memory import Context
from tests.threads import together


@pytest.fixture(scope="module", params=[False, True], ids=["forwards", "backwards"])
def backwards(request) -> bool:
    return request.param


@pytest.fixture(scope="module")
def take(backwards) -> Callable[[int, int, int, np.ndarray], None]:
    """``take(context, thread, count, taken)``: writes 1 + the number that a task is of those that
    the thread has taken into the place of the task."""
    module = ir.Module()
    e = Emitter(module, "take", [POINTER, I64, I64, POINTER], 8, exported=True)
    context, thread, count, taken = e.arguments
    number = e.variable(ir.Constant(I64, 0))
    with tasks(e, context, thread, count, backwards=backwards) as task:
        e.set(number, e.index(e.add(e.get(number), 1)))
        e.store_scalar(e.get(number), taken, task, I64)
    e.finish()
    code = machine_code.object_code([module.text()], host.processor())
    engine = machine_code.linked(code)
    kinds = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    entry = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address("take"))

    def call(context: int, thread: int, count: int, taken: np.ndarray) -> None:
        assert engine  # which is kept as long as its code is called
        entry(context, thread, count, taken.ctypes.data)

    return call


def context_for(threads: int) -> Context:
    context = Context(threads)
    context["threads"] = threads
    return context


@pytest.mark.parametrize(("threads", "count"), [(1, 5), (2, 7), (3, 7), (4, 2), (5, 0), (3, 100)])
def test_who_is_alone_takes_its_own_first_and_then_those_of_the_others(
    take, backwards, threads, count
):
    for thread in range(threads):
        taken = np.zeros(count, np.int64)
        take(context_for(threads).address, thread, count, taken)
        shares = [range(t * count // threads, (t + 1) * count // threads) for t in range(threads)]
        order = [
            task
            for share in shares[thread:] + shares[:thread]
            for task in (reversed(share) if backwards else share)
        ]
        assert list(np.argsort(taken)) == order
        assert sorted(taken) == list(range(1, count + 1))


def test_threads_side_by_side_take_each_task_once(take):
    threads, count = 4, 10_000
    context = context_for(threads)
    taken = np.zeros((threads, count), np.int64)
    together(*(lambda t=t: take(context.address, t, count, taken[t]) for t in range(threads)))
    assert ((taken > 0).sum(axis=0) == 1).all()
