"""What was measured to be quickest is taken, remembered, and found again; times here are made up,
but for the stopwatch's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from keras import layers, models

from convmill.lower.alternatives import Part, parts
from convmill.lower.launches import Images, Launch, Slot
from convmill.plan.read import read
from convmill.runtime import remembered, tune
from convmill.runtime.program import Program
from convmill.runtime.stopwatch import launch_seconds, seconds_a_tick
from tests.engine.favour import favour, forgetful
from tests.engine.nets import (
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

GRAPH = graph_of(
    (8, 8, 3),
    conv(16, (3, 3), activation="relu"),
    pool("max", (2, 2)),
    conv(32, (3, 3), activation="relu"),
    flatten,
    dense(3, "softmax"),
)
RECIPE = recipe_of("categorical_crossentropy")

__all__ = ["forgetful"]
pytestmark = pytest.mark.usefixtures("forgetful")


def samples(graph):
    rng = np.random.default_rng(1)
    return parameters(rng, graph), data(rng, graph, RECIPE.loss, 6, 3).batches


def made(graph=GRAPH):
    """A function that makes a Program, and one that trains it."""
    values, batches = samples(graph)

    def make(chooser, timed):
        threads = 1 if timed else 2
        return program_of(graph, RECIPE, values, threads=threads, chooser=chooser, timed=timed)

    return make, {
        "training": lambda program: program.train(batches, np.zeros(2)),
        "inference": lambda program: program.evaluate(batches),
    }


def is_last(part, value):
    return (part.stage, part.field) == (1, "forward") and value == part.values[-1]


def forward_of(program, stage=1):
    return program.network.stages[stage].choice.forward


def test_the_quickest_is_taken_and_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path / "new"))
    favour(monkeypatch, is_last)
    make, kinds = made()
    untuned = forward_of(make(remembered.chooser, False))
    (found,) = tune.tune(make, kinds, lambda text: None)
    assert set(found.values) == {(1, "forward")}
    program = make(remembered.chooser, False)
    assert forward_of(program) == found.values[1, "forward"] != untuned
    _, batches = samples(GRAPH)
    before = make(tune._Choosing(), False)
    for one in (before, program):
        one.train(batches, np.full(2, 1e-2))
    for ours, other in zip(program.get_parameters(), before.get_parameters(), strict=True):
        assert_near(ours, other, "weights")


def test_nothing_is_changed_where_all_together_is_no_quicker(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, is_last, before=1.0, after=0.995)
    make, kinds = made()
    untuned = forward_of(make(remembered.chooser, False))
    (found,) = tune.tune(make, kinds, lambda text: None)
    assert not found.values
    assert any(one.taken for one in found.tried)
    assert forward_of(make(remembered.chooser, False)) == untuned
    assert not list(tmp_path.glob("*.tuned"))


def test_tuning_again_forgets_what_was_found_before(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    make, kinds = made()
    with monkeypatch.context() as first:
        favour(first, is_last)
        list(tune.tune(make, kinds, lambda text: None))
    assert list(tmp_path.glob("*.tuned"))
    favour(monkeypatch, lambda part, value: False)
    list(tune.tune(make, kinds, lambda text: None))
    assert not list(tmp_path.glob("*.tuned"))


def test_inference_is_tuned_where_it_has_stages_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    normalized = models.Sequential(
        [
            layers.Input((8, 8, 16)),
            layers.Conv2D(16, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    graph = read(normalized).graph
    favour(monkeypatch, lambda part, value: value == part.values[-1])
    make, kinds = made(graph)
    found = list(tune.tune(make, kinds, lambda text: None))
    assert [one.kind for one in found] == ["training", "inference"]
    networks = make(remembered.chooser, False).networks
    for one in found:
        assert networks[one.kind].stages[0].choice.forward == one.values[0, "forward"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", pytest.param(b"[" * 200_000, id="deep"), b"null",
     b'{"choices": [[Infinity, "forward", "x"]]}', b'{"choices": 3}',
     b'{"choices": [[1]]}', b"\xff\xfe",
     b'{"choices": [[1, "forward", "Direct(rows=1000, windows=1, vectors=1, unroll=1)"]]}',
     b'{"choices": [[1, "forward", "__import__"], ["a", 2, 3]]}'],
)  # fmt: skip
def test_a_damaged_memory_is_passed_over(monkeypatch, tmp_path, content):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    make, _ = made()
    seen = tune._Choosing()
    untuned = forward_of(make(seen, False))
    modelled = seen.seen[0]
    part = next(part for part in parts(modelled) if is_last(part, part.values[-1]))
    assert remembered.remember(modelled, {(1, "forward"): part.values[-1]}) is None
    assert forward_of(make(remembered.chooser, False)) == part.values[-1]
    remembered.forget()  # as another process
    assert forward_of(make(remembered.chooser, False)) == part.values[-1]
    remembered.forget()
    (path,) = tmp_path.glob("*.tuned")
    assert json.loads(path.read_bytes())["choices"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(content)
    assert forward_of(make(remembered.chooser, False)) == untuned


def test_what_others_may_write_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, is_last)
    make, kinds = made()
    untuned = forward_of(make(remembered.chooser, False))
    list(tune.tune(make, kinds, lambda text: None))
    remembered.forget()
    (path,) = tmp_path.glob("*.tuned")
    assert forward_of(make(remembered.chooser, False)) != untuned
    path.chmod(0o666)
    assert forward_of(make(remembered.chooser, False)) == untuned


@pytest.mark.parametrize("folder", ["", "file"])
def test_without_a_folder_this_process_alone_remembers(monkeypatch, tmp_path, folder):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path / folder) if folder else "")
    favour(monkeypatch, is_last)
    make, kinds = made()
    untuned = forward_of(make(remembered.chooser, False))
    (found,) = tune.tune(make, kinds, lambda text: None)
    assert found.unkept
    assert forward_of(make(remembered.chooser, False)) == found.values[1, "forward"]
    remembered.forget()
    assert forward_of(make(remembered.chooser, False)) == untuned


# The stopwatch -----------------------------------------------------------------------------------


def test_a_timed_program_has_the_same_bits_and_times_every_launch():
    values, batches = samples(GRAPH)
    plain, timed = (
        program_of(GRAPH, RECIPE, values, threads=1, timed=timed) for timed in (False, True)
    )

    def run(program: Program) -> None:
        program.set_parameters(values)
        program.train(batches, np.full(2, 1e-2))

    seconds = launch_seconds(timed, "training", run, 0.0)
    assert set(seconds) == set(timed.code("training").step.launches())
    for one, took in seconds.items():
        assert 0 <= took < np.inf
        assert took or one.wanted  # nobody has asked for outputs
    run(plain)
    run(timed)
    for ours, other in zip(timed.get_parameters(), plain.get_parameters(), strict=True):
        np.testing.assert_array_equal(ours, other)
    ticks = timed.code("training").ticks
    assert ticks[:-1].sum() <= ticks[-1]


def test_seconds_are_those_of_native_code_whatever_python_does_around_it():
    values, batches = samples(GRAPH)
    program = program_of(GRAPH, RECIPE, values, threads=1, timed=True)
    machine = program.machine
    rate = seconds_a_tick(machine)
    taken = []

    def run(one: Program) -> None:
        one.train(batches, np.zeros(2))
        taken.append(int(one.code("training").ticks[-1]))
        np.linalg.svd(np.ones((150, 150)))  # takes longer than the run

    seconds = launch_seconds(program, "training", run, 0.0)
    assert seconds_a_tick(machine) == rate
    assert sum(seconds.values()) <= rate * taken[-1]


def test_timed_code_is_nobody_elses():
    values, _ = samples(GRAPH)
    one, other = (program_of(GRAPH, RECIPE, values, threads=1, timed=True) for _ in range(2))
    assert one.code("training").ticks is not other.code("training").ticks
    one.code("training").ticks[:] = 7
    assert not other.code("training").ticks.any()


@pytest.mark.parametrize("wrong", [{"timed": False, "threads": 1}, {"timed": True, "threads": 2}])
def test_a_program_without_a_stopwatch_is_refused(wrong):
    values, _ = samples(GRAPH)
    program = program_of(GRAPH, RECIPE, values, **wrong)
    with pytest.raises(ValueError, match="timed Program"):
        launch_seconds(program, "training", lambda one: None, 1.0)


# What a part takes -------------------------------------------------------------------------------


def launch(of, kernel, reads, writes):
    named = (tuple(map(Slot, each.split())) for each in (reads, writes))
    return Launch(kernel, of, Images(), *named)


def test_launches_that_serve_several_parts_are_shared_among_them():
    back = Part(1, "input_gradient", (".input_gradient",), (1, 2))
    weights = Part(1, "weight_gradient", (".weight_gradient", "biases.gradient"), (1, 2))
    seconds = {
        launch("stage0", "winograd.forward", "a", "b"): 100.0,  # another stage's
        launch("stage1", "live.places", "c", "lists"): 8.0,
        launch("stage1", "live.input_gradient", "lists w", "d"): 1.0,
        launch("stage1", "live.weight_gradient", "lists b", "e"): 2.0,
        launch("stage1", "biases.gradient", "c", "f"): 0.5,
        launch("matrix2", "copies.transpose", "v", "w"): 4.0,
        launch("matrix2", "update.step", "e", "v"): 1000.0,
    }
    assert tune.part_seconds(back, [back, weights], seconds) == 1.0 + 4.0 + 4.0
    assert tune.part_seconds(weights, [back, weights], seconds) == 2.5 + 4.0
    whole = Part(1, "panel", (), (None, 8))
    assert tune.part_seconds(whole, [whole], seconds) == 11.5 + 4.0
