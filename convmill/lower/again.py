"""The pass that has values computed again where a later phase reads them.

    apply: y | ... | dW: y    =>    apply: y | ... | apply again: y, dW: y

What a later phase reads lies in the record of its image, comes from behind the caches and has gone
there before. A value that follows at little cost from what that phase reads anyway (batch
normalization's output from its input, which its own gradient asks for) is not kept: it lives in a
thread's own memory, once for each phase, with the same bits each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from convmill.lower.launches import Images, Launch, Slot


def computed_again(launches: Sequence[Launch]) -> list[Launch]:
    """``launches``, in order, with those that are ``repeatable`` again before the first reader of
    each later phase over images; where shares read what they write, it is kept."""
    makers = _makers(launches)
    phases: dict[Slot, int] = {}  # in which one each was computed last
    found: list[Launch] = []
    for launch, phase in _with_phases(launches):
        for slot in launch.slots:
            if slot in makers and phases.setdefault(slot, phase) != phase:
                found.append(replace(makers[slot], again=True))
                phases[slot] = phase
        found.append(launch)
    return found


def _makers(launches: Sequence[Launch]) -> dict[Slot, Launch]:
    """Of each slot that can be computed again whenever it is read, the launch that does."""
    makers = {one.writes[0]: one for one in launches if one.repeatable}
    shared = {
        slot for one in launches if not isinstance(one.over, Images) for slot in one.reads
    }
    changed: set[Slot] = set()  # what is written behind a launch that reads it or writes it too
    touched: set[Slot] = set()
    for launch in launches:
        changed |= touched.intersection(launch.writes)
        if launch.repeatable:
            touched.update(launch.slots)
    return {
        slot: maker
        for slot, maker in makers.items()
        if slot not in shared and not changed.intersection(maker.slots)
    }


def _with_phases(launches: Sequence[Launch]) -> Iterator[tuple[Launch, int]]:
    """Launches with the number of their phase over images: shares stand between them."""
    phase, were_images = 0, False
    for launch in launches:
        are_images = isinstance(launch.over, Images)
        phase += are_images and not were_images
        were_images = are_images
        yield launch, phase
