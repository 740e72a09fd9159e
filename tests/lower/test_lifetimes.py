"""Whose memory a slot is in, and which slots share it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmill.lower import spec
from convmill.lower.cut import cut
from convmill.lower.launches import Slot, Step
from convmill.lower.lifetimes import Memory, place_slots
from convmill.lower.lines import CACHE_LINE, apart
from convmill.lower.tensors import Tensor
from tests.lower.launches import image_slot, over_images, over_shares

SUM = Slot("gradient_of/0")
FORMS = [Tensor(0, 3, 3, 1, (1, 1, 1, side)) for side in (1, 2)]


def chain(slots: list[Slot]) -> Step:
    """Each slot is read by the launch that writes the next one; shares read the last."""
    pairs = pairwise(slots)
    launches = [over_images([], slots[:1]), *(over_images([a], [b]) for a, b in pairs)]
    return cut([], [*launches, over_shares(slots[-1:], [SUM])])


def test_only_what_a_later_phase_reads_is_kept_for_each_image():
    a, b = image_slot("a", 100), image_slot("b", 30)
    memory = place_slots(chain([a, b]))
    assert (memory.places["a"].home, memory.places["b"].home) == ("thread", "image")
    assert memory.image_bytes == CACHE_LINE
    assert memory.thread_bytes == 3 * CACHE_LINE  # two, and one that makes them odd
    assert memory.stride("a") == memory.thread_bytes
    assert memory.stride("b") == memory.image_bytes


def test_slots_that_never_live_together_share_memory():
    slots = [image_slot(name, 1000) for name in "abcdef"]
    memory = place_slots(chain([*slots, image_slot("last", 64)]))
    assert memory.thread_bytes == apart(2 * 1024)  # of a chain two live at once
    assert memory.places["a"].offset == memory.places["c"].offset


def test_a_border_is_set_once_and_shared_with_its_like_alone():
    borders = {"a": FORMS[0], "b": FORMS[1], "d": FORMS[0]}
    slots = [image_slot(name, 1000, border=borders.get(name)) for name in "abcdef"]
    memory = place_slots(chain([*slots, image_slot("last", 64)]))
    assert memory.places["a"] == memory.places["d"]
    assert memory.places["c"] == memory.places["e"]
    assert len({memory.places[name].offset for name in "abcf"}) == 4
    assert memory.thread_bytes == apart(4 * 1024)


def test_what_is_computed_again_is_kept_for_no_image():
    """Each phase has it in its threads' own memory, which others use in between."""
    a, b, c = image_slot("a"), image_slot("b", 1000), image_slot("c", 1000)
    make = over_images([a], [b])
    launches = [over_images([], [a]), make, over_images([b], [image_slot("d")]),
                over_shares([a], [SUM]), over_images([], [c]), over_images([c], [image_slot("e")]),
                replace(make, again=True), over_images([b], [image_slot("f")])]  # fmt: skip
    memory = place_slots(cut([], launches))
    assert memory.places["a"].home == "image"
    assert memory.places["b"].home == "thread"
    assert memory.places["b"].offset == memory.places["c"].offset
    kept = place_slots(cut([], [one for one in launches if not one.again]))
    assert kept.places["b"].home == "image"


def test_with_a_guard_everything_is_kept_apart():
    slots = [image_slot(name, 1000) for name in "abc"]
    memory = place_slots(chain(slots), guard=64)
    assert memory.thread_bytes == 0
    assert {place.home for place in memory.places.values()} == {"image"}
    places = sorted(memory.places.values(), key=lambda place: place.offset)
    for before, after in pairwise(places):
        assert after.offset >= before.offset + before.bytes + 64


@given(st.data())
def test_slots_that_live_together_never_overlap(data):
    """Launches that each write one slot and read some of those before."""
    count, forms = data.draw(st.integers(2, 9)), st.sampled_from([None, *FORMS])
    slots = [
        image_slot(f"s{i}", 100 * data.draw(st.integers(1, 3)), border=data.draw(forms))
        for i in range(count)
    ]
    launches = []
    for i, slot in enumerate(slots):
        read = data.draw(st.lists(st.sampled_from(slots[:i]), unique=True)) if i else []
        launches.append(over_images(read, [slot]))
    kept = data.draw(st.lists(st.sampled_from(slots), unique=True))
    launches += [over_shares(kept, [SUM])] if kept else []
    step = cut([], launches)
    memory = place_slots(step)
    spec.check_memory(step, memory)
    for i, slot in enumerate(slots):
        for other in slots[:i]:
            if not _apart(memory, slot.name, other.name):
                last = max(n for n, one in enumerate(launches) if other in one.slots)
                assert last < i, f"{slot.name} is written while {other.name} is still read"
                assert slot.border == other.border
                one, another = memory.places[slot.name], memory.places[other.name]
                assert slot.border is None or one.offset == another.offset


def _apart(memory: Memory, one: str, other: str) -> bool:
    a, b = memory.places[one], memory.places[other]
    return a.home != b.home or a.offset >= b.offset + b.bytes or b.offset >= a.offset + a.bytes


def test_a_slot_without_a_place_is_an_error():
    memory = place_slots(chain([image_slot("a"), image_slot("b")]))
    with pytest.raises(KeyError):
        memory.stride("c")
