"""A batch whose records do not fit in memory goes in parts, with the same bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convmill.lower.choose import whole_images
from convmill.lower.slices import slice_size
from convmill.runtime import records, work, workers
from convmill.runtime.program import Program
from convmill.runtime.records import Records
from tests.engine.nets import assert_intact, data, parameters, poisoned, program_of
from tests.engine.test_threads import CASES

IMAGES, BATCH = 150, 70
LARGE = 300  # has slices of whole groups, which parts cut


def trained(
    case: str, threads: int, guard: int = 0, images: int = IMAGES, batch: int = BATCH
) -> tuple[list[np.ndarray], Program]:
    """All that three steps leave: losses, predictions, weights, gradients, slots."""
    graph, recipe = CASES[case]
    rng = np.random.default_rng(5)
    program = program_of(graph, recipe, parameters(rng, graph), threads=threads, guard=guard)
    sample = data(rng, graph, recipe.loss, images, batch, weighted=True)
    outputs = poisoned(images, graph)
    seeds = np.arange(graph.dropouts, dtype=np.uint64)
    rates = np.full(sample.steps, 0.01)
    record = program.train(sample.batches, rates, seeds=seeds, outputs=outputs)
    slots = [one for name in sorted(program.get_slots()) for one in program.get_slots()[name]]
    after = program.evaluate(sample.batches)
    return [
        *(record.loss, record.correct, record.penalty, outputs, after.loss),
        *(*program.get_parameters(), *program.get_gradients(), *slots),
    ], program


def limit_to(monkeypatch: pytest.MonkeyPatch, program: Program, images: int) -> None:
    """Lets the records of so many images be in memory at once."""
    length = program.code("training").memory.image_bytes
    monkeypatch.setattr(records, "MOST_BYTES", length * images)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_parts_give_the_same_bits(case, threads, monkeypatch):
    whole, program = trained(case, threads)
    assert program.records_held("training") == BATCH
    least = whole_images(program.network.stages)
    for images in (least, least + 1, 2 * least):
        limit_to(monkeypatch, program, images)
        parts, other = trained(case, threads)
        assert other.records_held("training") == images // least * least < BATCH
        for ours, theirs in zip(parts, whole, strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("images", [16, 40])
def test_a_slice_goes_on_in_the_next_part(images, monkeypatch):
    assert slice_size(LARGE, 8) % images != 0
    whole, program = trained("all kinds of layers", 3, images=LARGE, batch=LARGE)
    limit_to(monkeypatch, program, images)
    parts, other = trained("all kinds of layers", 3, images=LARGE, batch=LARGE)
    assert other.records_held("training") < LARGE
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_parts_stay_inside_their_memory(monkeypatch):
    whole, program = trained("all kinds of layers", 2, guard=64)
    limit_to(monkeypatch, program, 24)
    parts, other = trained("all kinds of layers", 2, guard=64)
    assert other.records_held("training") < BATCH
    assert_intact(other)
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_one_thread_of_many_stays_in_its_own_memory(monkeypatch):
    """For seven threads memory of their own is held for six images of a batch of forty. Where the
    system gives one alone, that may take no more at once."""
    monkeypatch.setattr(work, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(workers, "_take", lambda count: [])
    _, program = trained("all kinds of layers", 7, images=40, batch=40)
    for kind in ("training", "inference"):
        held = program._memory[kind].records
        group = held.extent.group
        assert group < program.network.images_per_group
        assert held.own[:group].any()
        assert not held.own[group:].any()  # it is made of zeros


def test_a_limit_below_the_least_part_takes_the_least(monkeypatch):
    _, program = trained("small windows, a frozen layer", 1)
    limit_to(monkeypatch, program, 1)
    _, other = trained("small windows, a frozen layer", 1)
    assert other.records_held("training") == whole_images(other.network.stages)


def failing(most: int):
    """Records for at most so many images; for more there is no memory."""

    class Scarce(Records):
        def __init__(self, network, memory, extent) -> None:
            if extent.images > most:
                raise MemoryError
            super().__init__(network, memory, extent)

    return Scarce


def test_where_memory_is_scarce_parts_get_smaller(monkeypatch):
    whole, _ = trained("all kinds of layers", 2)
    monkeypatch.setattr(records, "Records", failing(40))
    parts, program = trained("all kinds of layers", 2)
    assert program.records_held("training") <= 40
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_where_there_is_none_the_error_says_what_to_lower(monkeypatch):
    monkeypatch.setattr(records, "Records", failing(-1))
    with pytest.raises(MemoryError, match=r"MB .* of a batch .*threads"):
        trained("all kinds of layers", 2)


def test_weights_after_a_failed_allocation_are_as_they_were(monkeypatch):
    _, program = trained("small windows, a frozen layer", 1)
    before = program.get_parameters()
    graph, recipe = CASES["small windows, a frozen layer"]
    sample = data(np.random.default_rng(0), graph, recipe.loss, 8, 8)
    monkeypatch.setattr(records, "Records", failing(-1))
    with pytest.raises(MemoryError):
        program.train(dataclasses.replace(sample, batch_size=8).batches, np.full(1, 0.1))
    for ours, theirs in zip(program.get_parameters(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
