"""What is made of weights once a call stays from call to call, as long as it is theirs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.nets import data, parameters, poisoned, program_of
from tests.engine.test_threads import CASES

IMAGES = 12
RNG = np.random.default_rng(3)


def trained(program, sample, steps):
    """Losses and predictions of a run of training."""
    outputs = poisoned(IMAGES, program.graph)
    seeds = np.arange(program.graph.dropouts, dtype=np.uint64)
    record = program.train(
        sample.batches, np.full(sample.steps, 0.01), iterations=steps, seeds=seeds, outputs=outputs
    )
    return [record.loss, outputs, *program.get_parameters()]


def measured(program, sample, steps):
    """Losses and predictions of a run without training."""
    outputs = poisoned(IMAGES, program.graph)
    return [program.evaluate(sample.batches, outputs=outputs).loss, outputs]


def given_others(program, sample, steps):
    """Other weights, as a user gives them."""
    some = [
        None if number % 2 else one * 1.5 for number, one in enumerate(program.get_parameters())
    ]
    program.set_parameters(some)
    return measured(program, sample, steps)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_calls_one_behind_the_other_are_as_those_of_new_programs(case, threads):
    graph, recipe = CASES[case]
    sample = data(RNG, graph, recipe.loss, IMAGES, IMAGES, weighted=True)
    program = program_of(graph, recipe, parameters(RNG, graph), threads=threads)
    runs = [trained, measured, measured, given_others, measured, trained, trained, given_others]
    for number, run in enumerate([*runs, trained, measured]):
        other = program_of(graph, recipe, program.get_parameters(), threads=threads)
        other.set_slots(program.get_slots())
        expected = run(other, sample, number)
        found = run(program, sample, number)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.tobytes() == theirs.tobytes(), (number, run.__name__)


def test_a_run_that_was_broken_off_leaves_nothing_prepared():
    graph, recipe = CASES[next(iter(CASES))]
    sample = data(RNG, graph, recipe.loss, IMAGES, IMAGES, weighted=True)
    program = program_of(graph, recipe, parameters(RNG, graph), threads=1)

    def refuse(record):
        raise KeyboardInterrupt

    trained(program, sample, 0)
    with pytest.raises(KeyboardInterrupt):
        program.train(sample.batches, np.full(sample.steps, 0.01), watch=refuse)
    other = program_of(graph, recipe, program.get_parameters(), threads=1)
    for mine, theirs in zip(measured(program, sample, 1), measured(other, sample, 1), strict=True):
        assert mine.tobytes() == theirs.tobytes()
