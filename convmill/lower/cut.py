"""The pass that puts the barriers.

    [forward, loss, backward: images] [dW: shares] [norms: shares] [update: shares] [copy: shares]
    =>  images | dW | norms | update, copy

A barrier stands wherever a launch needs what others of its phase compute: where shares read what
images wrote or the reverse, and where a share reads what another share wrote. A launch over the
very same shares as the one that it reads goes on in the same task instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convmill.lower.launches import Images, Launch, Phase, Step


def cut(call: Sequence[Launch], launches: Sequence[Launch]) -> Step:
    """A Step of launches in order; ``call`` are those that come once, before the first batch.

    All up to the last launch that touches an image's memory is done for each part of a batch.
    """
    ends = [number + 1 for number, launch in enumerate(launches) if _touches_images(launch)]
    end = max(ends, default=0)
    return Step(_phases(call), _phases(launches[:end]), _phases(launches[end:]))


def _touches_images(launch: Launch) -> bool:
    return isinstance(launch.over, Images) or any(slot.home == "image" for slot in launch.slots)


def _phases(launches: Sequence[Launch]) -> tuple[Phase, ...]:
    phases: list[list[list[Launch]]] = []
    for launch in launches:
        place = _place(phases[-1], launch) if phases else None
        if place is None:
            phases.append([[launch]])
        elif place == len(phases[-1]):
            phases[-1].append([launch])
        else:
            phases[-1][place].append(launch)
    return tuple(_ordered(works) for works in phases)


def _place(works: Sequence[Sequence[Launch]], launch: Launch) -> int | None:
    """The work of a phase that ``launch`` goes on with, ``len(works)`` for one of its own; None
    where a barrier must stand before it."""
    if isinstance(launch.over, Images) or isinstance(works[0][0].over, Images):
        both = isinstance(launch.over, Images) and isinstance(works[0][0].over, Images)
        return 0 if both else None
    needed = [number for number, work in enumerate(works) if _conflict(work, launch)]
    if not needed:
        return len(works)
    alike = len(needed) == 1 and works[needed[0]][0].over == launch.over
    return needed[0] if alike else None


def _conflict(work: Iterable[Launch], launch: Launch) -> bool:
    """Whether ``launch`` touches what a launch of ``work`` writes, or writes what it reads."""
    return any(
        set(one.writes) & set(launch.slots) or set(launch.writes) & set(one.reads) for one in work
    )


def _ordered(works: Sequence[Sequence[Launch]]) -> Phase:
    """The largest work first, so that no thread begins it last."""
    sized = sorted(works, key=lambda work: -sum(launch.work for launch in work))
    return Phase(tuple(tuple(work) for work in sized))
