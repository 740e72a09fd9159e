"""What the checks between passes notice: each of these is right but for one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convmill.lower import spec
from convmill.lower.choices import Direct, Narrow
from convmill.lower.launches import Phase, Slot, Step
from convmill.lower.lifetimes import Place, place_slots
from convmill.lower.machine import TARGETS
from convmill.lower.network import Gradients
from convmill.lower.passes import lower_stages
from convmill.lower.stages import ConvolutionStage
from tests.engine.nets import conv, dense, flatten, graph_of
from tests.lower.launches import image_slot, over_images, over_shares

AVX2 = TARGETS["avx2"]
GRAPH = graph_of((9, 9, 1), conv(8), conv(8, padding="same"), flatten, dense(3))
LOWERED = lower_stages(GRAPH, AVX2)
SUM = Slot("gradient_of/0")
X, Y = image_slot("x"), image_slot("y")


def stages_with(number: int, **changes) -> list:
    """The stages of the net above, one of them changed."""
    stages = list(LOWERED.stages)
    stages[number] = replace(stages[number], **changes)
    return stages


def test_what_the_passes_leave_is_right():
    spec.check_stages(LOWERED.stages)
    spec.check_choices(LOWERED.stages, LOWERED.gradients, AVX2)


def test_a_window_outside_its_input():
    second = LOWERED.stages[1]
    assert isinstance(second, ConvolutionStage)
    bare = second.input.padded((0, 0, 0, 0))
    with pytest.raises(spec.SpecError, match="stage 1 reads 9 places of 7"):
        spec.check_stages(stages_with(1, input=bare))


def test_a_buffer_that_is_read_too_early():
    with pytest.raises(spec.SpecError, match="before it is written"):
        spec.check_stages(LOWERED.stages[::-1])


def test_two_writers_of_a_buffer():
    with pytest.raises(spec.SpecError, match="what another stage writes"):
        spec.check_stages([*LOWERED.stages, LOWERED.stages[0]])


def test_choices_that_do_not_fit():
    first = LOWERED.stages[0]
    assert isinstance(first, ConvolutionStage)
    assert first.choice is not None
    large = replace(first.choice, forward=Direct(7, 7, 2, 3))
    with pytest.raises(spec.SpecError, match="too few registers"):
        spec.check_choices(stages_with(0, choice=large), LOWERED.gradients, AVX2)
    with pytest.raises(spec.SpecError, match="misses a gradient"):
        spec.check_choices(LOWERED.stages, [Gradients()] * 3, AVX2)
    second = LOWERED.stages[1]
    assert isinstance(second, ConvolutionStage)
    assert second.choice is not None
    no_lists = replace(second.choice, weight_gradient=Narrow(4))
    with pytest.raises(spec.SpecError, match="no lists"):
        spec.check_choices(stages_with(1, choice=no_lists), LOWERED.gradients, AVX2)


def test_a_missing_barrier():
    one, other = over_shares([], [SUM]), over_shares([SUM], [Slot("parameter/0")])
    with pytest.raises(spec.SpecError, match="a barrier is missing: gradient_of/0"):
        spec.check_step(Step((), (), (Phase(((one,), (other,))),)))


def test_a_slot_that_nobody_wrote():
    with pytest.raises(spec.SpecError, match="reads x before it is written"):
        spec.check_step(Step((), (Phase(((over_images([X], [Y]),),)),), ()))


def test_one_name_for_two_slots():
    launches = (over_images([], [X]), over_images([replace(X, bytes=128)], [Y]))
    with pytest.raises(spec.SpecError, match="elsewhere"):
        spec.check_step(Step((), (Phase((launches,)),), ()))


def test_images_of_one_part_behind_the_last_part():
    images, late = Phase(((over_images([], [X]),),)), Phase(((over_shares([X], [SUM]),),))
    with pytest.raises(spec.SpecError, match="images of one part alone"):
        spec.check_step(Step((), (images,), (late,)))


def test_places_that_overlap():
    step = Step((), (Phase(((over_images([], [X]), over_images([X], [Y])),)),), ())
    memory = place_slots(step)
    spec.check_memory(step, memory)
    both = {"x": memory.places["x"], "y": memory.places["x"]}
    with pytest.raises(spec.SpecError, match="overlaps"):
        spec.check_memory(step, replace(memory, places=both))
    outside = {**memory.places, "x": Place("thread", 1 << 20, 64)}
    with pytest.raises(spec.SpecError, match="x lies outside"):
        spec.check_memory(step, replace(memory, places=outside))
