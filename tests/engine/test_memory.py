"""No kernel touches what is not its own: beside pages without rights, and between fences."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convmill.lower.launches import value
from convmill.runtime import workers
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    assert_intact,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    program_of,
    recipe_of,
)

ROOT = Path(__file__).parents[2]
PLAN = graph_of((3, 3, 1), flatten, dense(3))
RECIPE = recipe_of("mean_squared_error")


def child(*arguments: str) -> subprocess.CompletedProcess:
    """Run ``guard_pages`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.engine.guard_pages", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")
def test_nothing_outside_is_read_or_written():
    result = child()
    assert result.returncode == 0, result.stderr
    assert result.stdout == "nothing outside was touched\n"


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")
def test_a_step_too_far_ends_the_process():
    """The test above can fail."""
    assert child("--trespass").returncode < 0


def prepared():
    """A Program and eight images."""
    rng = np.random.default_rng(0)
    values = parameters(rng, PLAN)
    return program_of(PLAN, RECIPE, values, guard=GUARD), data(rng, PLAN, RECIPE.loss, 8, 4)


@pytest.mark.parametrize(("name", "step"), [("outputs", -1), ("losses", 8), ("images", 0)])
def test_fences_notice(monkeypatch, name, step):
    """A value written before or behind an array, or into one that is only read, is found."""
    plain = workers.run

    def trespass(code, context, threads, look):
        plain(code, context, threads, look)
        address = context.arrays[name].ctypes.data + step * ctypes.sizeof(ctypes.c_float)
        ctypes.c_float.from_address(address).value = 12345.0

    monkeypatch.setattr(workers, "run", trespass)
    program, sample = prepared()
    outputs = np.zeros((8, 3), np.float32)
    with fenced(), pytest.raises(AssertionError, match="written"):
        program.evaluate(sample.batches, outputs=outputs)


def test_guards_inside_records_notice():
    program, sample = prepared()
    program.evaluate(sample.batches)
    assert_intact(program)
    second = program.left(value(program.network.input).name, "inference")[1]
    ctypes.c_uint8.from_address(second.ctypes.data + second.nbytes).value = 0
    with pytest.raises(AssertionError):
        assert_intact(program)


def test_inference_leaves_no_number_unwritten():
    """Records are poisoned at first: what nobody wrote would be no number in the predictions."""
    program, sample = prepared()
    outputs = np.full((8, 3), np.nan, np.float32)
    program.evaluate(sample.batches, outputs=outputs)
    assert np.isfinite(outputs).all()
