"""Gradients that slices of a batch have summed: none of its images is left out or counts twice."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

from convmill.kernels import ir, slices
from convmill.kernels.lang import I64, POINTER, Emitter
from convmill.lower.launches import Slices
from convmill.lower.slices import slice_size
from convmill.plan.recipe import Optimizer
from convmill.runtime import host, machine_code, work
from tests.engine.nets import (
    assert_intact,
    assert_near,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
)

GRAPH = graph_of((7, 7, 2), conv(18), pool("max", (2, 2)), conv(5, (2, 2)), flatten, dense(3))
RECIPE = recipe_of("mean_squared_error", Optimizer("sgd"))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 31, 64, 65, 100, 129])
def test_a_batch_has_the_mean_of_its_images_gradients(count, threads, monkeypatch):
    for worth in ("WORTH_A_THREAD", "WORTH_SHARING"):  # threads for the smallest work too
        monkeypatch.setattr(work, worth, 1)
    rng = np.random.default_rng(count)
    program = program_of(GRAPH, RECIPE, parameters(rng, GRAPH), threads=threads, guard=64)
    launches = program.code("training").step.launches()
    assert sum(isinstance(launch.over, Slices) for launch in launches) >= 2
    sample = data(rng, GRAPH, RECIPE.loss, count, count)
    program.train(sample.batches, np.zeros(1))
    together = program.get_gradients()
    alone = [np.zeros(one.shape) for one in together]
    for image in range(count):
        one = replace(sample.batches, order=sample.batches.order[image : image + 1], batch_size=1)
        program.train(one, np.zeros(1))
        alone = [a + b / count for a, b in zip(alone, program.get_gradients(), strict=True)]
    for ours, theirs in zip(together, alone, strict=True):
        assert_near(ours, theirs, f"the gradient of {count} images")
    assert_intact(program)


@pytest.mark.parametrize("group", [8, 16])
def test_native_code_cuts_a_batch_as_it_is_described(group):
    """The rule stands twice: for threads, and for who plans and reads."""
    module = ir.Module()
    e = Emitter(module, "size", [POINTER, I64], 16, exported=True)
    e.store_scalar(e.index(slices.size_of(e, e.arguments[1], group)), e.arguments[0], 0, I64)
    e.finish()
    engine = machine_code.linked(machine_code.object_code([module.text()], host.processor()))
    size = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(
        engine.get_function_address("size")
    )
    found = np.zeros(1, np.int64)
    for images in range(1, 600):
        size(found.ctypes.data, images)
        assert found[0] == slice_size(images, group)


def test_more_slices_are_held_when_a_batch_has_more():
    rng = np.random.default_rng(0)
    program = program_of(GRAPH, RECIPE, parameters(rng, GRAPH), threads=1, guard=64)
    for count in (3, 40, 3, 100):
        sample = data(rng, GRAPH, RECIPE.loss, count, count)
        program.train(sample.batches, np.zeros(1))
        assert_intact(program)
