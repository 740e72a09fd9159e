"""No kernel touches what is not its own: beside pages without rights, and between fences."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convmill.lower.launches import value
from convmill.plan.recipe import Loss
from convmill.runtime import workers
from convmill.runtime.program import Program
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
ALL_LOSSES = (
    Loss("categorical_crossentropy", from_logits=True),
    Loss("sparse_categorical_crossentropy", from_logits=True),
    Loss("categorical_crossentropy"),
    Loss("binary_crossentropy", from_logits=True),
    Loss("mean_absolute_error"),
)


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


@pytest.mark.parametrize(("name", "step"), [("outputs/0", -1), ("losses", 8), ("images/0", 0)])
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
    second = program.left(value(program.network.inputs[0]).name, "inference")[1]
    ctypes.c_uint8.from_address(second.ctypes.data + second.nbytes).value = 0
    with pytest.raises(AssertionError):
        assert_intact(program)


def test_what_is_not_kept_is_an_error():
    """Without a guard a thread's own memory serves one image behind the other."""
    graph, rng = graph_of((6, 6, 1), flatten, dense(20)), np.random.default_rng(0)
    program = program_of(graph, RECIPE, parameters(rng, graph))
    sample = data(rng, graph, RECIPE.loss, 8, 4)
    with pytest.raises(KeyError, match="nothing was run"):
        program.left(value(program.network.inputs[0]).name)
    program.train(sample.batches, np.zeros(2))
    assert program.left(value(program.network.inputs[0]).name).shape == (4, 36 * 4)  # for dW
    with pytest.raises(KeyError, match="not kept"):
        program.left(value(program.network.outputs[0]).name)


def test_inference_leaves_no_number_unwritten():
    """Records are poisoned at first: what nobody wrote would be no number in the predictions."""
    program, sample = prepared()
    outputs = np.full((8, 3), np.nan, np.float32)
    program.evaluate(sample.batches, outputs=outputs)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_the_stack_does_not_grow_with_the_net(loss):
    """A thread has a few megabytes of it: what grows lies in memory that is asked for."""
    graph = graph_of((2, 2, 1), flatten, dense(5_000))
    program = Program(graph, recipe_of(loss))
    for kind in ("training", "inference"):
        text = program.code(kind).source
        arrays = [int(count) for count in re.findall(r"alloca \[(\d+) x", text)]
        assert arrays, "none is found any more"
        assert max(arrays) <= 1_000


@pytest.mark.parametrize("loss", ALL_LOSSES[:2])
def test_very_many_logits(loss):
    """More than a stack holds."""
    graph = graph_of((1, 1, 1), flatten, dense(2_500_000))
    rng = np.random.default_rng(0)
    program = program_of(graph, recipe_of(loss), parameters(rng, graph), threads=1)
    sample = data(rng, graph, Loss("sparse_categorical_crossentropy"), 1, 1)
    y = sample.y if loss.sparse else np.zeros((1, 2_500_000), np.float32)
    if not loss.sparse:
        y[0, sample.y] = 1
    batches = dataclasses.replace(sample, y=y).batches
    logits = program.predict(sample.x).astype(np.float64)[0]
    exact = np.log(np.exp(logits).sum()) - logits[sample.y]
    np.testing.assert_allclose(program.evaluate(batches).loss, exact, rtol=1e-5)
