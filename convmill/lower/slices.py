"""Which sums over the images of a batch are taken for each slice of it apart.

    dW: shares, of all images         =>  dW: images, a slice's sums | the sum of slices: shares

Gradients of weights read what images have left behind, most of which was written by another core,
and that is slower than all that they compute. Where weights are few, a slice of the batch has sums
of its own: a thread that has computed the gradients of some images goes on with what it still has
in its caches, nothing of it is in a record, and only the sums cross from core to core.

A batch has the same slices, in the same order, whoever computes them: no bit depends on threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from convmill.lower.launches import Launch, Shares, Slices, Slot, of_matrix, partial
from convmill.lower.network import Network

SLICES = 16  # of a batch, at most: so many threads share it, and so many sums are added up
# What an image must leave behind for each byte of sums, and of those that a kernel has meanwhile: a
# slice may be two images. And the bytes of sums that stay in the second cache beside what they are
# made of. Where there are more, shares are left.
WORTH, WORTH_MEANWHILE = 1 / 4, 1 / 12
MOST_SUMS = 256 * 1024


def slice_size(images: int, group: int) -> int:
    """Images of each slice of a batch: a power of two, or whole groups. So slices end where groups
    do, however a batch is cut into parts."""
    size = -(-images // SLICES)
    return 1 << (size - 1).bit_length() if size <= group else -(-size // group) * group


def sliced(network: Network, launches: Iterable[Launch]) -> dict[str, list[Launch]]:
    """Those of ``launches``, which sum gradients over shares, that go over slices instead, by the
    stage. All that write to a parameter do, or none."""
    stages: dict[str, list[Launch]] = {}
    for launch in launches:
        stages.setdefault(launch.of, []).append(launch)
    partials = {of_matrix("gradient_of", one.index): partial(one) for one in network.matrices}
    sums = {of: partials.keys() & _written(own) for of, own in stages.items()}
    worth = {
        of
        for of, own in stages.items()
        if _is_worth(own, sum(partials[slot].bytes for slot in sums[of]))
    }
    taken = _agreed(sums, worth)
    return {
        of: [_by_slices(launch, partials) for launch in own]
        for of, own in stages.items()
        if of in taken
    }


def _written(launches: Iterable[Launch]) -> set[Slot]:
    return {slot for launch in launches for slot in launch.writes}


def _is_worth(launches: Sequence[Launch], sums: int) -> bool:
    """Whether a stage's sums, of so many bytes, are few beside what they are made of."""
    read = {slot for launch in launches for slot in launch.reads if slot.home == "image"}
    return are_few(sums, max(launch.sums for launch in launches), sum(slot.bytes for slot in read))


def are_few(sums: int, meanwhile: int, read: int) -> bool:
    """Whether sums of so many bytes, and of so many ``meanwhile``, are few beside the bytes of an
    image that they are made of."""
    return max(WORTH * sums, WORTH_MEANWHILE * meanwhile) <= read and sums <= MOST_SUMS


def _agreed(sums: Mapping[str, set[Slot]], stages: set[str]) -> set[str]:
    """Without the stages that share a parameter with one that is not among them."""
    others = {slot for of, own in sums.items() if of not in stages for slot in own}
    left = {of for of in stages if not sums[of] & others}
    return left if left == stages else _agreed(sums, left)


def _by_slices(launch: Launch, partials: Mapping[Slot, Slot]) -> Launch:
    """A launch that sums over slices of a batch, not over all of it."""
    assert isinstance(launch.over, Shares)
    written = tuple(partials.get(slot, slot) for slot in launch.writes)
    return replace(launch, over=Slices(total=launch.over.total), writes=written)


def summed(network: Network, launches: Iterable[Launch], lanes: int) -> list[Launch]:
    """The sums of all slices, of each parameter that ``launches`` sum by slices: in the shares in
    which the parameter is updated."""
    written = _written(launches)
    return [
        Launch(
            "slices.sum",
            f"matrix{matrix.index}",
            Shares(matrix.rows, lanes),
            (partial(matrix),),
            (of_matrix("gradient_of", matrix.index),),
            matrix.size,
        )
        for matrix in network.matrices
        if partial(matrix) in written
    ]
