"""What a thread computes does not depend on the mode that other code has set its processor to, and
that mode stays as it was."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from convmill.runtime import workers
from tests.engine.nets import conv, data, dense, flatten, graph_of, parameters, pool
from tests.threads import together

from tests.engine.nets import program_of, recipe_of  # isort: skip

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the mode is set by what glibc keeps of x86's",
)

USUAL, ZEROING, UPWARDS = 0x1F80, 0x8040, 0x4000
AT = 28  # where glibc's fenv_t has the mode of SSE, behind that of x87


def mode() -> int:
    """This thread's."""
    kept = ctypes.create_string_buffer(AT + 4)
    assert ctypes.CDLL(None).fegetenv(kept) == 0
    return int.from_bytes(kept.raw[AT:], "little") & 0xFFC0  # without what has happened so far


@contextmanager
def within(wanted: int) -> Iterator[None]:
    """Within, this thread computes in a mode."""
    library, before = ctypes.CDLL(None), ctypes.create_string_buffer(AT + 4)
    assert library.fegetenv(before) == 0
    after = ctypes.create_string_buffer(before.raw[:AT] + wanted.to_bytes(4, "little"), AT + 4)
    assert library.fesetenv(after) == 0
    try:
        yield
    finally:
        assert library.fesetenv(before) == 0


GRAPH = graph_of((8, 8, 1), conv(5), pool("max", (2, 2)), flatten, dense(3, "softmax"))
RECIPE = recipe_of("categorical_crossentropy")
SAMPLE = data(np.random.default_rng(0), GRAPH, RECIPE.loss, 64, 16)
VALUES = [one * 1e-3 for one in parameters(np.random.default_rng(1), GRAPH)]


def trained(threads: int) -> list[np.ndarray]:
    """Weights behind an epoch, and predictions."""
    program = program_of(GRAPH, RECIPE, VALUES, threads=threads)
    program.train(SAMPLE.batches, np.full(SAMPLE.steps, 0.5))
    return [*program.get_parameters(), program.predict(SAMPLE.x)]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("other", [ZEROING, UPWARDS, ZEROING | UPWARDS])
def test_the_callers_mode_changes_no_bit_and_stays(other: int) -> None:
    usual = trained(1)
    with within(USUAL | other):
        found = trained(1)
        after = mode()
    assert after == USUAL | other
    assert_same(found, usual)


def test_threads_that_are_started_in_another_mode() -> None:
    """They have it from the thread that starts them."""
    usual = trained(2)
    parked = workers._parked[:]
    workers._parked.clear()  # so that new ones are started
    try:
        with within(USUAL | UPWARDS):
            started = trained(2)
        assert_same(started, usual)
        assert_same(trained(2), usual)
    finally:
        workers._parked.extend(parked)


def test_a_callers_mode_is_its_own() -> None:
    """Two threads of two modes at once."""
    usual, found = trained(2), []

    def work() -> None:
        with within(USUAL | UPWARDS | ZEROING):
            found.append(trained(2))

    together(work, work)
    for one in found:
        assert_same(one, usual)
    assert mode() == USUAL
