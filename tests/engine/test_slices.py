"""Gradients that slices of a batch have summed: none of its images is left out or counts twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convmill.lower.launches import Slices
from convmill.plan.recipe import Optimizer
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
def test_a_batch_has_the_mean_of_its_images_gradients(count, threads):
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
