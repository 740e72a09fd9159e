"""Losses that are computed outside: a batch's predictions go out, their gradient comes back."""

import numpy as np
import pytest

from convmill.plan.recipe import Loss, Optimizer
from convmill.runtime import records
from convmill.runtime.batches import Batches
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    assert_intact,
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

BRIDGED = Loss("bridged", reduction="sum")
GRAPHS = {
    "dense": graph_of((6, 6, 2), conv(3), pool("max", (2, 2)), flatten, dense(5, "tanh")),
    "softmax": graph_of((4, 4, 1), flatten, dense(17, "softmax")),
    "image": graph_of((6, 5, 2), conv(3), conv(4, (2, 2), activation="sigmoid")),
}


def squares(sample, steps=None):
    """Mean squared error, by NumPy, of the batches of ``sample``; ``steps`` notes them."""

    def compute(step, output, predictions):
        assert output == 0
        if steps is not None:
            steps.append(step)
        gap = predictions - sample.y[sample.batch(step)]
        return float((gap**2).mean()), 2 * gap / gap.size

    return compute


def trained(graph, loss, sample, **options):
    """A Program behind an epoch of Adam, and what was measured."""
    values = parameters(np.random.default_rng(2), graph)
    program = program_of(graph, recipe_of(loss, Optimizer("adam")), values, **options)
    bridge = squares(sample) if loss.bridged else None
    batches = sample.batches
    if loss.bridged:
        batches = Batches(sample.x, sample.order, sample.batch_size)
    with fenced():
        measured = program.train(batches, np.full(sample.steps, 0.01), bridge=bridge)
    return program, measured


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_loss_from_outside_trains_alike(name):
    graph = GRAPHS[name]
    sample = data(np.random.default_rng(1), graph, Loss("mean_squared_error"), 11, 4)
    inside, here = trained(graph, Loss("mean_squared_error"), sample)
    outside, there = trained(graph, BRIDGED, sample, guard=GUARD)
    assert_intact(outside)
    for ours, other in zip(outside.get_parameters(), inside.get_parameters(), strict=True):
        np.testing.assert_allclose(ours, other, atol=2e-6)
    starts = np.arange(3) * 4
    places = np.prod(graph.output_shape[:-1], initial=1)
    means = np.add.reduceat(here.loss, starts) / (np.array([4, 4, 3]) * places)
    np.testing.assert_allclose(there.loss[starts], means, rtol=1e-5)
    assert np.count_nonzero(there.loss) == 3


def test_threads_change_no_bit():
    graph = GRAPHS["dense"]
    sample = data(np.random.default_rng(1), graph, BRIDGED, 40, 16)
    first, *others = (trained(graph, BRIDGED, sample, threads=count)[0] for count in (1, 2, 3))
    for other in others:
        for one, two in zip(first.get_parameters(), other.get_parameters(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_batch_is_never_cut(monkeypatch):
    """However little memory a batch may take, the loss sees all of it."""
    monkeypatch.setattr(records, "MOST_BYTES", 1)
    graph = GRAPHS["dense"]
    sample = data(np.random.default_rng(1), graph, BRIDGED, 40, 16)
    program, _ = trained(graph, BRIDGED, sample)
    assert program.records_held("training") == 16


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError("no loss"), KeyboardInterrupt()])
def test_a_step_whose_loss_fails_is_not_made(error, threads):
    graph = GRAPHS["dense"]
    sample = data(np.random.default_rng(1), graph, BRIDGED, 12, 4)
    values = parameters(np.random.default_rng(2), graph)
    recipe = recipe_of(BRIDGED, Optimizer("adam"))
    expected = program_of(graph, recipe, values)
    batches = Batches(sample.x, sample.order[:8], 4)
    expected.train(batches, np.full(2, 0.01), bridge=squares(sample))

    def failing(step, output, predictions):
        if step == 2:
            raise error
        return squares(sample)(step, output, predictions)

    program = program_of(graph, recipe, values, threads=threads)
    batches = Batches(sample.x, sample.order, 4)
    with pytest.raises(type(error)):
        program.train(batches, np.full(3, 0.01), bridge=failing)
    assert program.finished == 2
    assert program.iterations == 2
    for one, two in zip(program.get_parameters(), expected.get_parameters(), strict=True):
        np.testing.assert_array_equal(one, two)
    for name, slots in program.get_slots().items():
        for one, two in zip(slots, expected.get_slots()[name], strict=True):
            np.testing.assert_array_equal(one, two)
    program.train(batches, np.full(3, 0.01), bridge=squares(sample))  # and it goes on


def test_a_bridge_is_needed():
    graph = GRAPHS["softmax"]
    sample = data(np.random.default_rng(1), graph, BRIDGED, 4, 4)
    program = program_of(graph, recipe_of(BRIDGED), parameters(np.random.default_rng(2), graph))
    with pytest.raises(ValueError, match="`bridge` is missing"):
        program.train(Batches(sample.x, sample.order, 4), np.full(1, 0.01))
