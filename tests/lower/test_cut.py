"""Where barriers stand, and what is done for each part of a batch."""

from __future__ import annotations

from convmill.lower.cut import cut
from convmill.lower.launches import Slot
from tests.lower.launches import image_slot, over_images, over_shares

WEIGHTS, COPY, SUM, NORM = map(Slot, ("parameter/0", "pack/0", "gradient_of/0", "norm/0"))
X, Y = image_slot("value/0"), image_slot("value/1")


def test_launches_over_images_are_one_phase():
    first, second = over_images([X], [Y]), over_images([Y], [X])
    step = cut([], [first, second])
    assert [phase.works for phase in step.part] == [((first, second),)]
    assert step.call == step.batch == ()


def test_shares_that_read_what_images_wrote_stand_behind_a_barrier():
    images, shares = over_images([], [X]), over_shares([X], [SUM])
    step = cut([], [images, shares])
    assert [phase.over_images for phase in step.part] == [True, False]


def test_images_that_read_what_shares_wrote_stand_behind_a_barrier():
    """As batch normalization will want it: statistics over the batch between two passes."""
    launches = [over_images([], [X]), over_shares([X], [SUM]), over_images([SUM, X], [Y])]
    assert [phase.over_images for phase in cut([], launches).part] == [True, False, True]


def test_shares_that_touch_nothing_of_one_another_are_one_phase_the_largest_first():
    small = over_shares([X], [SUM], work=1)
    large = over_shares([X], [NORM], work=2)
    (phase,) = cut([], [small, large]).part
    assert phase.works == ((large,), (small,))


def test_the_same_shares_go_on_in_one_task_and_others_behind_a_barrier():
    update = over_shares([SUM], [WEIGHTS], 8, 4)
    copy = over_shares([WEIGHTS], [COPY], 8, 4)
    (phase,) = cut([], [update, copy]).batch
    assert phase.works == ((update, copy),)
    other = over_shares([WEIGHTS], [COPY], 8, 1)
    assert len(cut([], [update, other]).batch) == 2


def test_overwriting_what_another_share_reads_needs_a_barrier():
    penalty = over_shares([WEIGHTS], [NORM], 1)
    update = over_shares([SUM], [WEIGHTS], 8)
    assert len(cut([], [penalty, update]).batch) == 2


def test_what_images_left_is_used_for_each_part_and_the_rest_once():
    gradient = over_shares([X], [SUM], 8, 4)
    update = over_shares([SUM], [WEIGHTS], 8, 4)
    step = cut([over_shares([WEIGHTS], [COPY])], [over_images([], [X]), gradient, update])
    assert [len(phases) for phases in (step.call, step.part, step.batch)] == [1, 2, 1]
    assert step.batch[0].works == ((update,),)
