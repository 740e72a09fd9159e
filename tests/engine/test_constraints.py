"""Weights within bounds behind each step, as Keras' constraints hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import constraints

from convmill.plan.graph.nodes import Graph
from convmill.plan.graph.parameters import NonNegative, NormRange
from convmill.plan.operations.parameters import Parameters
from convmill.plan.recipe import Average, Optimizer
from tests.engine.nets import (
    GUARD,
    WIDTHS,
    assert_intact,
    conv,
    data,
    dense,
    flatten,
    graph_of,
    parameters,
    poisoned,
    program_of,
    recipe_of,
)

NORMS = [
    constraints.MaxNorm(0.5, axis=0),
    constraints.UnitNorm(axis=0),
    constraints.MinMaxNorm(0.3, 0.6, rate=0.5, axis=0),
    constraints.MinMaxNorm(0.8, 0.4, axis=0),  # Keras lets the lower bound go first
]


@st.composite
def convnets(draw: Any) -> tuple[Graph, list[Any]]:
    """A graph with a constraint on every weight, and Keras' constraints, in its order."""
    size = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    filters, channels = draw(st.integers(1, 19)), draw(st.integers(1, 18))
    graph = graph_of(
        (4, 3, channels), conv(filters, size), flatten, dense(draw(st.integers(1, 35)))
    )
    asked, found = [], []
    for parameter in graph.parameters:
        constraint = draw(st.sampled_from([*NORMS, constraints.NonNeg()]))
        if not isinstance(constraint, constraints.NonNeg):
            count = len(parameter.shape)
            axes = draw(st.sets(st.integers(-count, count - 1), min_size=1))
            axes = {axis % count: axis for axis in axes}.values()
            given_axes = draw(st.sampled_from([None, list(axes)]))
            config = constraint.get_config() | {"axis": given_axes}
            constraint = type(constraint).from_config(config)
        variable = keras.Variable(np.zeros(parameter.shape), name="one")
        variable.constraint = constraint
        one = Parameters([variable])
        one.index(variable)
        asked.append(constraint)
        found.append(replace(parameter, constraint=one.found[0].constraint))
    return replace(graph, parameters=tuple(found)), asked


@settings(max_examples=25)
@given(convnets(), st.sampled_from(sorted(WIDTHS)), st.integers(1, 3), st.integers(0, 99))
def test_weights_are_what_keras_makes_of_them(
    net: tuple[Graph, list[Any]], width: str, threads: int, seed: int
) -> None:
    """A step of size zero, so that only constraints move the weights; any layout, any axes."""
    graph, asked = net
    rng = np.random.default_rng(seed)
    values = parameters(rng, graph)
    recipe = recipe_of("mean_squared_error")
    program = program_of(graph, recipe, values, machine=WIDTHS[width], threads=threads, guard=GUARD)
    sample = data(rng, graph, recipe.loss, 5, 5)
    program.train(sample.batches, np.zeros(1))
    for ours, value, constraint in zip(program.get_parameters(), values, asked, strict=True):
        theirs = np.asarray(jax.jit(constraint)(value.astype(np.float32)))
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-7)
    assert_intact(program)
    # and the next step reads the new weights, copies and all
    fresh = program_of(graph, recipe, program.get_parameters(), machine=WIDTHS[width], guard=GUARD)
    outputs = [poisoned(5, graph) for _ in range(2)]
    for each, room in zip((program, fresh), outputs, strict=True):
        each.train(sample.batches, np.zeros(1), outputs=room)
    assert np.isfinite(outputs).all()
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("width", WIDTHS)
def test_predictions_read_the_new_weights(width: str) -> None:
    graph = graph_of((4, 3, 3), conv(17), flatten, dense(5))
    bounded = [replace(one, constraint=NonNegative()) for one in graph.parameters]
    graph = replace(graph, parameters=tuple(bounded))
    rng, recipe = np.random.default_rng(0), recipe_of("mean_squared_error")
    values = parameters(rng, graph)
    sample = data(rng, graph, recipe.loss, 5, 5)
    program = program_of(graph, recipe, values, machine=WIDTHS[width], guard=GUARD)
    program.train(sample.batches, np.zeros(1))
    held = [np.maximum(value, 0) for value in values]
    fresh = program_of(graph, recipe, held, machine=WIDTHS[width], guard=GUARD)
    np.testing.assert_array_equal(program.predict(sample.x), fresh.predict(sample.x))


def test_what_is_no_number_stays_so() -> None:
    graph = graph_of((3,), dense(2), dense(2))
    kernel, bias, *others = graph.parameters
    changed = (
        replace(kernel, constraint=NormRange((0,), 0.0, 1.0)),
        replace(bias, constraint=NonNegative()),
        *others,
    )
    graph = replace(graph, parameters=changed)
    values = parameters(np.random.default_rng(0), graph)
    values[0][0, 0] = values[1][0] = np.nan
    program = program_of(graph, recipe_of("mean_squared_error"), values)
    sample = data(np.random.default_rng(0), graph, recipe_of("mean_squared_error").loss, 2, 2)
    program.train(sample.batches, np.zeros(1))
    kernel_after, bias_after, *_ = program.get_parameters()
    assert np.isnan(kernel_after).any(axis=0).tolist() == [True, True]
    assert np.isnan(bias_after[0])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_bounds_hold_behind_averages_and_between_steps(accumulate: int) -> None:
    """Weights that a moving average has replaced are within bounds; the average is not."""
    graph = graph_of((3,), dense(2))
    kernel, bias = graph.parameters
    graph = replace(graph, parameters=(replace(kernel, constraint=NonNegative()), bias))
    optimizer = Optimizer("sgd", accumulate=accumulate, average=Average(0.5, 1))
    recipe = recipe_of("mean_squared_error", optimizer)
    values = [np.array([[-1, 2], [3, -4], [5, 6]], np.float32), np.zeros(2, np.float32)]
    program = program_of(graph, recipe, values)
    sample = data(np.random.default_rng(0), graph, recipe.loss, 2, 2)
    program.train(sample.batches, np.zeros(1))
    np.testing.assert_array_equal(program.get_parameters()[0], np.maximum(values[0], 0))
    np.testing.assert_array_equal(program.get_slots()["average"][0], values[0])
