"""Whatever else could have been chosen computes the same net, in bounds."""

from __future__ import annotations

import numpy as np
import pytest

from convmill.lower.alternatives import Modelled, parts, with_values
from convmill.lower.choose import choose, outer_tile, placed_chunk
from convmill.lower.machine import TARGETS
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    assert_follows_twin,
    assert_intact,
    conv,
    data,
    dense,
    depthwise,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
)

GRAPH = graph_of(
    (12, 14, 3),
    conv(16, (3, 3), activation="relu"),
    pool("max", (2, 2)),
    conv(32, (3, 3), padding="same", activation="relu"),
    conv(32, (5, 5), padding="same"),
    conv(40, (3, 3), padding="same", activation="leaky_relu"),
    depthwise((3, 3), padding="same"),
    flatten,
    dense(4, "softmax"),
)


class Other:
    """A chooser that takes the last value of every part, or the one of number ``turn``."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.fields: set[str] = set()
        self.most = 0

    def __call__(self, stages, wanted, machine):
        modelled = Modelled.of(stages, wanted, machine)
        every = parts(modelled)
        self.fields |= {part.field for part in every}
        self.most = max(len(part.values) for part in every)
        values = {
            (part.stage, part.field): part.values[min(self.turn, len(part.values) - 1)]
            for part in every
        }
        return with_values(modelled.stages, values)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("turn", range(5))
def test_every_alternative_follows_the_twin(width, turn):
    recipe = recipe_of("categorical_crossentropy")
    rng = np.random.default_rng(turn)
    values = parameters(rng, GRAPH)
    sample = data(rng, GRAPH, recipe.loss, 9, 5)
    other = Other(turn)
    program = program_of(GRAPH, recipe, values, machine=WIDTHS[width], guard=GUARD, chooser=other)
    assert other.fields >= {"forward", "input_gradient", "weight_gradient", "columns"}
    assert other.most <= 5, "more turns are wanted above"
    with fenced():
        assert_follows_twin(program, values, sample)
    assert_intact(program)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activation", ["leaky_relu", "tanh", "linear"])
def test_live_filters_of_each_place_beside_weights_over_all_places(activation, width):
    """Gradients behind the activation are put in the place of those before it once, not twice."""
    graph = graph_of((6, 7, 2), conv(5), conv(37, (3, 2), activation=activation), flatten, dense(2))
    recipe = recipe_of("mean_squared_error")

    def chooser(stages, wanted, machine):
        layer = stages[1]
        values = {
            (1, "input_gradient"): placed_chunk(layer, machine),
            (1, "weight_gradient"): outer_tile(layer, machine),
        }
        return with_values(choose(stages, wanted, machine), values)

    rng = np.random.default_rng(1)
    values = parameters(rng, graph)
    sample = data(rng, graph, recipe.loss, 5, 3)
    program = program_of(graph, recipe, values, machine=WIDTHS[width], guard=GUARD, chooser=chooser)
    with fenced():
        assert_follows_twin(program, values, sample)
    assert_intact(program)


def test_what_is_chosen_comes_first_and_nothing_twice():
    seen = []

    def chooser(stages, wanted, machine):
        modelled = Modelled.of(stages, wanted, machine)
        for part in parts(modelled):
            seen.append(part)
            assert part.values[0] == getattr(modelled.stages[part.stage].choice, part.field)
            assert len(set(part.values)) == len(part.values) > 1
        return list(modelled.stages)

    program_of(GRAPH, recipe_of("categorical_crossentropy"), parameters_of(), chooser=chooser)
    assert {part.field for part in seen} >= {"forward", "input_gradient", "weight_gradient"}


def test_large_dense_layers_may_go_by_groups_or_over_the_batch():
    graph = graph_of((1, 1, 600), flatten, dense(512, "relu"), dense(2, "softmax"))
    found = []

    def chooser(stages, wanted, machine):
        modelled = Modelled.of(stages, wanted, machine)
        found.extend(part for part in parts(modelled) if part.field == "panel")
        return list(modelled.stages)

    program_of(
        graph,
        recipe_of("categorical_crossentropy"),
        parameters(np.random.default_rng(0), graph),
        machine=TARGETS["avx2"],
        chooser=chooser,
    )
    assert None in found[0].values


def parameters_of():
    return parameters(np.random.default_rng(0), GRAPH)
