"""Dense layers with more weights than the cache holds: panel by panel, with the bits of groups."""

from __future__ import annotations

import numpy as np
import pytest

from convmill.lower import choose
from convmill.lower.stages import DenseStage
from convmill.plan.recipe import Optimizer
from convmill.runtime import host, records
from convmill.runtime.program import Program
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    assert_intact,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    poisoned,
    program_of,
    recipe_of,
)

WIDEST = f"{host.machine().lanes} lanes"


def left(
    net: tuple[tuple[int, ...], int, str], images: int, threads: int, width: str
) -> tuple[list[np.ndarray], Program]:
    """What two steps and a pass behind them leave, of a net of two dense layers."""
    shape, units, activation = net
    graph = graph_of(shape, flatten, dense(units, activation), dense(units - 3, "tanh"), dense(4))
    recipe = recipe_of("mean_squared_error", Optimizer("sgd", momentum=0.9))
    random = np.random.default_rng(units)
    program = program_of(
        graph,
        recipe,
        parameters(random, graph),
        threads=threads,
        guard=GUARD,
        machine=WIDTHS[width],
    )
    sample = data(random, graph, recipe.loss, 2 * images, images)
    outputs = poisoned(2 * images, graph)
    program.train(sample.batches, np.full(sample.steps, 0.01), outputs=outputs)
    predicted = poisoned(2 * images, graph)
    measured = program.evaluate(sample.batches, outputs=predicted)
    assert_intact(program)
    found = [outputs, predicted, measured.losses, *program.get_parameters()]
    return [*found, *program.get_gradients()], program


@pytest.mark.parametrize("width", sorted({"8 lanes", WIDEST}))
@pytest.mark.parametrize(
    ("shape", "units", "activation", "images", "threads"),
    [
        ((3, 7, 5), 70, "relu", 21, 2),  # nothing is a whole number of vectors or tiles
        ((1, 1, 64), 128, "linear", 8, 3),
        ((1, 1, 200), 67, "gelu", 1, 1),  # one image
        ((4, 4, 9), 96, "sigmoid", 19, 7),  # fewer shares than threads
    ],
)
def test_panels_give_the_bits_of_groups(
    shape, units, activation, images, threads, width, monkeypatch
):
    net = (shape, units, activation)
    groups, plain = left(net, images, threads, width)
    monkeypatch.setattr(choose, "LARGE_BYTES", 0)
    several = 4 * 6 * 16 * 2 * WIDTHS[width].lanes  # bytes: more than one panel
    monkeypatch.setattr(choose, "PANEL_BYTES", several)
    monkeypatch.setattr("convmill.kernels.dense.MOST_LAID_OUT", 5)
    panels, program = left(net, images, threads, width)
    assert _panels(plain) == [False, False, False]
    assert _panels(program) == [True, True, False]
    for ours, theirs in zip(panels, groups, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _panels(program: Program) -> list[bool]:
    dense_stages = (one for one in program.network.stages if isinstance(one, DenseStage))
    return [bool(stage.choice and stage.choice.panel) for stage in dense_stages]


def test_without_training_images_go_in_parts(monkeypatch):
    whole, _ = left(((1, 1, 64), 80, "relu"), 40, 2, WIDEST)
    monkeypatch.setattr(choose, "LARGE_BYTES", 0)
    monkeypatch.setattr(records, "MOST_BYTES_UNTRAINED", 1)
    parts, program = left(((1, 1, 64), 80, "relu"), 40, 2, WIDEST)
    assert program.records_held("inference") == choose.IMAGES_PER_GROUP
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_large_weights_take_panels():
    graph = graph_of((1, 1, 1024), flatten, dense(160, "relu"), dense(4))
    assert _panels(Program(graph)) == [True, False]
