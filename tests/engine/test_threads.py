"""The same bits for any number of threads, and for two Programs at once."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from convmill.kernels import context
from convmill.plan.graph.parameters import Regularizer
from convmill.plan.recipe import Clip, Optimizer
from convmill.runtime import jit, work, workers
from convmill.runtime.program import Measured, Program
from tests.engine.nets import (
    activate,
    conv,
    data,
    dense,
    depthwise,
    dropout,
    flatten,
    graph_of,
    parameters,
    poisoned,
    pool,
    program_of,
    recipe_of,
    rescale,
    separable,
    transposed,
)
from tests.threads import together

ALL_KINDS = graph_of(
    (13, 12, 3),
    rescale(1 / 3, 0.1),
    conv(16),
    dropout(0.3),
    conv(20, (3, 3), padding="same", regularizer=Regularizer(l1=1e-3)),
    pool("max", (2, 2)),
    conv(17, (2, 3), (2, 1), "same", "gelu"),
    pool("max", (3, 3), (1, 1), "same"),
    activate("leaky_relu"),
    pool("average", (2, 2), (1, 1)),
    dropout(0.5),
    flatten,
    dense(33, "tanh", regularizer=Regularizer(l2=1e-2)),
    dense(5, "softmax"),
)
NARROW_FIRST = graph_of(
    (9, 9, 1),
    conv(18, activation="elu"),
    pool("max", (2, 2)),
    conv(5, (2, 2), trainable=False),
    pool("average", (2, 2)),
    flatten,
    dense(1, "sigmoid"),
)
ALL_FORMS = graph_of(
    (9, 8, 4),
    conv(18, dilation=(2, 1), padding="same"),
    depthwise(padding="same", activation="tanh"),
    conv(20, (2, 2), groups=2),
    separable(17, multiplier=2),
    transposed(5, padding="same"),
    flatten,
    dense(1, "sigmoid"),
)
TILES = graph_of(
    (9, 10, 3),
    conv(32, (1, 1)),
    conv(32, padding="same", activation="tanh"),
    conv(64, activation="elu"),
    flatten,
    dense(12, "softmax"),  # by shares: it reads what images have left
)
CASES = {
    "weight gradients by tiles": (TILES, recipe_of("categorical_crossentropy", Optimizer("sgd"))),
    "all forms of convolutions": (ALL_FORMS, recipe_of("binary_crossentropy", Optimizer("sgd"))),
    "all kinds of layers": (
        ALL_KINDS,
        recipe_of(
            "sparse_categorical_crossentropy",
            Optimizer("adam", amsgrad=True, weight_decay=0.01, clip=Clip("global_norm", 0.5)),
            accuracy="sparse",
        ),
    ),
    "small windows, a frozen layer": (
        NARROW_FIRST,
        recipe_of("binary_crossentropy", Optimizer("rmsprop", momentum=0.5, centered=True)),
    ),
}


BATCH = 44  # for eight threads in smaller groups than for few


@dataclasses.dataclass(frozen=True)
class Result:
    """All that a run leaves behind."""

    record: Measured
    arrays: tuple[np.ndarray, ...]


def prepared(case: str, threads: int, seed: int = 0) -> tuple[Program, dict]:
    """A Program and the arguments of ``train``: batches of 44 images, and a rest."""
    graph, recipe = CASES[case]
    rng = np.random.default_rng(seed)
    program = program_of(graph, recipe, parameters(rng, graph), threads=threads)
    sample = data(rng, graph, recipe.loss, 81, BATCH, weighted=True)
    order = np.concatenate([rng.permutation(81) for _ in range(5)])
    sample = dataclasses.replace(sample, order=order)
    arguments = {
        "batches": sample.batches,
        "rates": np.linspace(0.01, 0.001, sample.steps),
        "iterations": 5,
        "seeds": np.arange(3, 3 + graph.dropouts, dtype=np.uint64),
        "outputs": poisoned(len(order), graph),
    }
    return program, arguments


def run(program: Program, arguments: dict) -> Result:
    """Train, then evaluate."""
    record = program.train(**arguments)
    after = program.evaluate(arguments["batches"])
    slots = [one for name in sorted(program.get_slots()) for one in program.get_slots()[name]]
    arrays = (
        record.loss, record.correct, record.penalty, arguments["outputs"], after.loss,
        *program.get_parameters(), *program.get_gradients(), *slots,
    )  # fmt: skip
    return Result(record, arrays)


def assert_same_bits(one: Result, other: Result) -> None:
    """Every array is the same, bit by bit."""
    assert one.record.steps == other.record.steps
    for ours, theirs in zip(one.arrays, other.arrays, strict=True):
        assert np.isfinite(ours).all()
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads_gives_the_same_bits(case, monkeypatch):
    alone = run(*prepared(case, 1))
    plain, used = workers.run, []

    def counted(code, context, threads, look):
        used.append(threads)
        plain(code, context, threads, look)

    monkeypatch.setattr(workers, "run", counted)
    monkeypatch.setattr(work, "WORTH_A_THREAD", 1)  # else so small a net is fewer threads' work
    for threads in (2, 3, 8):
        program, arguments = prepared(case, threads)
        assert_same_bits(run(program, arguments), alone)
        assert used == [threads, threads]  # in training and in evaluation
        used.clear()


def test_threads_that_fall_asleep_at_every_barrier_give_the_same_bits(monkeypatch):
    alone = run(*prepared("all kinds of layers", 1))
    monkeypatch.setattr(work, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(context, "SPINS", -1)
    jit.forget()
    try:
        for threads in (2, 8):
            assert_same_bits(run(*prepared("all kinds of layers", threads)), alone)
    finally:
        jit.forget()


def test_every_one_of_eight_threads_has_work_in_every_phase():
    """The test above would say little of phases that one thread does alone."""
    program, _ = prepared("all kinds of layers", 8)
    assert program.network.images_per_group > BATCH // 8
    for phase in program.code("training").step.phases:
        if not phase.over_images:
            overs = [each[0].over for each in phase.works]
            assert sum(min(8, -(-over.total // over.multiple)) for over in overs) >= 8


def test_a_second_run_gives_the_same_bits():
    """What a run leaves in buffers does not reach the next one."""
    program, arguments = prepared("all kinds of layers", 2)
    values = program.get_parameters()
    first = run(program, arguments)
    program.set_parameters(values)
    program.set_slots(
        {name: [np.zeros_like(one) for one in slots] for name, slots in program.get_slots().items()}
    )
    program.predict(arguments["batches"].x[:1])
    assert_same_bits(run(program, arguments | {"outputs": arguments["outputs"].copy()}), first)


@pytest.mark.parametrize("cases", [("all kinds of layers",) * 2, tuple(CASES)], ids=["", "mixed"])
def test_two_programs_at_once(cases):
    """Programs, of the same native code or not, each in a Python thread."""
    alone = [run(*prepared(case, 2, seed)) for seed, case in enumerate(cases)]
    both = [prepared(case, 2, seed) for seed, case in enumerate(cases)]
    found: dict[int, Result] = {}

    def work(number: int) -> None:
        found[number] = run(*both[number])

    together(*(functools.partial(work, number) for number in range(len(cases))))
    for number, result in enumerate(alone):
        assert_same_bits(found[number], result)


def test_many_threads_and_one_image():
    """More threads than there is work for."""
    program, arguments = prepared("all kinds of layers", 8)
    one = dataclasses.replace(arguments["batches"], order=np.zeros(1, np.int64))
    loss = {}
    for threads in (1, 8):
        program.threads = threads
        loss[threads] = program.evaluate(one).loss
    np.testing.assert_array_equal(loss[1], loss[8])
