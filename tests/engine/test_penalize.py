"""Regularizers of what layers compute, against the twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convmill.plan.graph.parameters import Regularizer
from tests.engine.fences import fenced
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    assert_follows_twin,
    assert_intact,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    penalize,
    program_of,
    recipe_of,
)
from tests.twin import net as twin
from tests.twin import updates

FACTORS = st.sampled_from([0.0, 0.5, 2.0])


@settings(max_examples=20)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 19)),
    factors=st.tuples(FACTORS, FACTORS),
    reduction=st.sampled_from(["mean", "sum"]),
    width=st.sampled_from(sorted(WIDTHS)),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_penalties_and_their_slopes(sizes, factors, reduction, width, threads, seed):
    """Behind a convolution, in front of one that pads, and of the output; the last batch is
    smaller."""
    height, columns, filters = sizes
    regularizer = Regularizer(*factors)
    graph = graph_of(
        (height, columns, 2),
        conv(filters, (1, 1), activation="linear"),
        penalize(regularizer),
        conv(3, (2, 2), padding="same", activation="tanh"),
        flatten,
        dense(2),
        penalize(Regularizer(l2=1.0)),
    )
    rng = np.random.default_rng(seed)
    values = parameters(rng, graph)
    recipe = recipe_of("mean_squared_error")
    recipe = recipe_of(type(recipe.loss)("mean_squared_error", reduction=reduction))
    options = {"machine": WIDTHS[width], "threads": threads, "guard": GUARD}
    program = program_of(graph, recipe, values, **options)
    sample = data(rng, graph, recipe.loss, 11, 4)
    with fenced():
        measured = assert_follows_twin(program, values, sample)
        evaluated = program.evaluate(sample.batches)
    assert_intact(program)
    outputs = twin.forward(graph, values, sample.x)
    for step in range(3):
        chosen = sample.batch(step)
        expected = sum(
            updates.penalty(node.operation.regularizer, outputs[node.name][chosen]) / len(chosen)
            for node in graph.nodes
            if hasattr(node.operation, "regularizer")
        )
        assert measured.penalty[step] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert evaluated.penalty[step] == pytest.approx(expected, rel=1e-5, abs=1e-6)
