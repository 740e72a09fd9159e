"""A run that is stopped from outside ends behind a whole step, and says which."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from convmill.plan.recipe import Optimizer
from convmill.runtime.program import Measured
from tests.engine.nets import (
    conv,
    data,
    dense,
    dropout,
    flatten,
    graph_of,
    parameters,
    pool,
    program_of,
    recipe_of,
)

SHAPE = (28, 28, 1)
PLAN = graph_of(SHAPE, conv(8), pool("max", (2, 2)), flatten, dropout(0.2), dense(3, "softmax"))
RECIPE = recipe_of("categorical_crossentropy", Optimizer("adam"))
# Some ten seconds of work: far more than is done until the first look, however late that comes.
STEPS, IMAGES = 400_000, 3_000_000
SEEDS = np.array([9], np.uint64)


class Enough(Exception):
    """What a watch of these tests raises."""


def prepared(steps=STEPS, threads=2):
    """A Program with small weights and very many small batches."""
    rng = np.random.default_rng(0)
    sample = data(rng, PLAN, RECIPE.loss, 20, 3)
    order = np.tile(sample.order, -(-steps * 3 // 20))[: steps * 3]
    return (
        program_of(PLAN, RECIPE, parameters(rng, PLAN), threads=threads),
        dataclasses.replace(sample, order=order).batches,
    )


def replayed(steps):
    """The same run with just so many steps; with none where it was stopped before the first."""
    program, batches = prepared(max(steps, 1))
    if not steps:
        return program, None
    record = program.train(batches, np.full(steps, 1e-4), seeds=SEEDS)
    return program, record


def state(program):
    """All bits of weights and slots."""
    slots = program.get_slots()
    arrays = [*program.get_parameters(), *(one for name in sorted(slots) for one in slots[name])]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("error", [Enough("stop"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_watch_raises_stops_behind_a_step(error, threads):
    program, batches = prepared(threads=threads)
    seen: list[Measured] = []

    def watch(record):
        seen.append(record)
        if record.steps:
            raise error

    with pytest.raises(type(error)) as raised:
        program.train(batches, np.full(STEPS, 1e-4), seeds=SEEDS, watch=watch)
    assert raised.value is error
    shown = seen[-1].steps
    assert 0 < shown <= program.finished < STEPS
    again, record = replayed(program.finished)
    assert state(program) == state(again)
    last = seen[-1]
    assert len(last.loss) == len(last.correct) == 3 * shown
    assert len(last.penalty) == shown
    np.testing.assert_array_equal(last.loss, record.loss[: 3 * shown])


def test_a_stopped_program_goes_on():
    """What is left behind is a start like any other."""
    program, batches = prepared()

    def watch(record):
        raise Enough

    with pytest.raises(Enough):
        program.train(batches, np.full(STEPS, 1e-4), seeds=SEEDS, watch=watch)
    done, more = program.finished, 5
    rest = dataclasses.replace(batches, order=batches.order[3 * done : 3 * (done + more)])
    program.train(rest, np.full(more, 1e-4), seeds=SEEDS, iterations=done)
    again, _ = replayed(done + more)
    assert state(program) == state(again)
    assert np.isfinite(program.predict(batches.x)).all()


def test_a_watch_sees_whole_steps_and_the_end():
    program, batches = prepared(5_000)
    seen: list[Measured] = []
    record = program.train(batches, np.full(5_000, 1e-4), seeds=SEEDS, watch=seen.append)
    assert program.finished == record.steps == 5_000
    assert seen[-1].steps == 5_000
    steps = [one.steps for one in seen]
    assert steps == sorted(steps)
    for one in seen:
        assert len(one.loss) == len(one.correct) == 3 * one.steps
        np.testing.assert_array_equal(one.loss, record.loss[: len(one.loss)])


def test_what_a_watch_raises_at_the_end_goes_on_too():
    """A short run is over before anybody looks: the watch is called with all of it."""
    program, batches = prepared(2)

    def watch(record):
        if record.steps == 2:
            raise Enough

    with pytest.raises(Enough):
        program.train(batches, np.full(2, 1e-4), seeds=SEEDS, watch=watch)
    assert program.finished == 2
    assert state(program) == state(replayed(2)[0])


def test_inference_stops():
    program, batches = prepared()
    before = state(program)
    many = dataclasses.replace(batches, order=np.zeros(IMAGES, np.int64))
    images = np.broadcast_to(batches.x[:1], (IMAGES, *SHAPE))

    def watch(record):
        raise Enough

    with pytest.raises(Enough):
        program.evaluate(many, watch=watch)
    assert program.finished < IMAGES
    with pytest.raises(Enough):
        program.predict(images, watch=watch)
    assert program.finished < IMAGES
    assert state(program) == before
    few = dataclasses.replace(batches, order=batches.order[:20])
    assert len(program.evaluate(few).loss) == 20


@pytest.mark.parametrize("short", [False, True], ids=["long", "short"])
def test_a_run_that_is_told_to_stop_says_how_far_it_came(short):
    """A short run is over before anybody asks."""
    steps = 3 if short else STEPS
    program, batches = prepared(steps)
    record = program.train(batches, np.full(steps, 1e-4), seeds=SEEDS, stop=lambda: True)
    assert record.steps == program.finished
    assert len(record.loss) == len(record.correct) == 3 * record.steps
    assert (record.steps == steps) == short
    assert program.iterations == record.steps
    assert state(program) == state(replayed(record.steps)[0])


def test_steps_are_counted_from_what_was_set_or_given():
    program, batches = prepared(2)
    program.iterations = 7
    assert program.iterations == 7
    program.train(batches, np.full(2, 1e-4), seeds=SEEDS, iterations=30)
    program.predict(batches.x)
    assert program.iterations == 32


def test_a_run_that_is_over_keeps_no_images_alive():
    program, batches = prepared(2)
    images = batches.x.copy()
    seen = weakref.ref(images)
    program.train(dataclasses.replace(batches, x=images), np.full(2, 1e-4), seeds=SEEDS)
    del images
    assert seen() is None
    assert program.finished == 2
