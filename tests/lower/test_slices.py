"""Which gradients are summed by slices of a batch, and what a slice is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmill.kernels.steps import training_step
from convmill.lower.launches import Shares, Slices
from convmill.lower.machine import TARGETS
from convmill.lower.network import Network
from convmill.lower.passes import lower
from convmill.lower.slices import SLICES, slice_size, sliced
from convmill.plan.recipe import Optimizer
from tests.engine.nets import conv, dense, flatten, graph_of, recipe_of

LANES = 16


def network_of(units: int) -> Network:
    """A convolution with much to read for few weights, and a dense layer that has many."""
    graph = graph_of((12, 12, 2), conv(16), flatten, dense(units, "softmax"))
    recipe = recipe_of("categorical_crossentropy", Optimizer("sgd"))
    return lower(graph, recipe, TARGETS["avx512"])


@given(st.integers(1, 5000), st.sampled_from([8, 16]))
def test_slices_are_few_and_end_where_groups_do(images, group):
    size = slice_size(images, group)
    assert -(-images // size) <= SLICES
    assert size % group == 0 or group % size == 0


def test_a_stage_with_few_weights_goes_over_slices_and_one_with_many_over_shares():
    launches = list(training_step(network_of(40), LANES).launches())
    over = {one.of: one.over for one in launches if one.kernel.endswith("weight_gradient")}
    assert isinstance(over["stage0"], Slices)
    assert isinstance(over["stage1"], Shares)


def test_sums_of_slices_are_added_in_the_task_that_updates_the_weights():
    step = training_step(network_of(40), LANES)
    works = [work for phase in step.batch for work in phase.works]
    summed = [work for work in works if work[0].kernel == "slices.sum"]
    assert [work[0].of for work in summed] == ["matrix0", "matrix1"]
    assert all(work[1].kernel == "update.step" and work[1].of == work[0].of for work in summed)


@pytest.mark.parametrize("shared", [False, True])
def test_who_shares_a_parameter_sums_as_the_others_do(shared):
    network = network_of(40)
    gradients = [
        launch
        for launch in training_step(network, LANES).launches()
        if launch.kernel == "dense.weight_gradient"
    ]
    (few,) = (
        replace(launch, over=Shares(16), writes=gradients[0].writes if shared else ())
        for launch in training_step(network, LANES).launches()
        if isinstance(launch.over, Slices)
    )
    assert list(sliced(network, [few, *gradients])) == ([] if shared else ["stage0"])
