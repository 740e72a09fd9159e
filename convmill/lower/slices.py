"""Which sums over the images of a batch are taken for each slice of it apart.

    dW: shares, of all images         =>  dW: images, a slice's sums | the sum of slices: shares

Gradients of weights read what images have left behind, most of which was written by another core,
and that is slower than all that they compute. Where weights are few, a slice of the batch has sums
of its own: a thread that has computed the gradients of some images goes on with what it still has
in its caches, nothing of it is in a record, and only the sums cross from core to core.

A batch has the same slices, in the same order, whoever computes them: no bit depends on threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from convmill.lower.launches import Launch, Shares, Slices, of_matrix, partial
from convmill.lower.network import Matrix, Network

SLICES = 16  # of a batch, at most: so many threads share it, and so many sums are added up
# What an image must leave behind for each byte of sums; and the bytes of sums that stay in the
# second cache beside what they are made of. Where there are more, shares are left.
WORTH = 1 / 4
MOST_SUMS = 256 * 1024


def slice_size(images: int, group: int) -> int:
    """Images of each slice of a batch: a power of two, or whole groups. So slices end where groups
    do, however a batch is cut into parts."""
    size = -(-images // SLICES)
    return 1 << (size - 1).bit_length() if size <= group else -(-size // group) * group


def sliced(network: Network, launches: Sequence[Launch]) -> dict[str, list[Launch]]:
    """Those of ``launches``, which sum gradients over shares, that go over slices instead, by the
    stage. All that write to a parameter do, or none."""
    stages = dict.fromkeys(launch.of for launch in launches)
    worth = {of for of in stages if _is_worth(network, [one for one in launches if one.of == of])}
    taken = _agreed(network, launches, worth)
    return {
        of: [_by_slices(network, one) for one in launches if one.of == of]
        for of in stages
        if of in taken
    }


def _is_worth(network: Network, launches: Sequence[Launch]) -> bool:
    """Whether the sums of a stage's launches are few beside what they are made of."""
    read = {slot for launch in launches for slot in launch.reads if slot.home == "image"}
    sums = sum(partial(matrix).bytes for matrix in _written(network, launches))
    return WORTH * sums <= sum(slot.bytes for slot in read) and sums <= MOST_SUMS


def _agreed(network: Network, launches: Sequence[Launch], stages: set[str]) -> set[str]:
    """Without the stages that share a parameter with one that is not among them."""
    others = _written(network, [launch for launch in launches if launch.of not in stages])
    out = {
        launch.of
        for launch in launches
        if launch.of in stages and set(_written(network, [launch])) & set(others)
    }
    return _agreed(network, launches, stages - out) if out else stages


def _written(network: Network, launches: Iterable[Launch]) -> list[Matrix]:
    """The parameters whose gradients some launches sum."""
    written = {slot for launch in launches for slot in launch.writes}
    return [one for one in network.matrices if of_matrix("gradient_of", one.index) in written]


def _by_slices(network: Network, launch: Launch) -> Launch:
    """A launch that sums over slices of a batch, not over all of it."""
    assert isinstance(launch.over, Shares)
    kinds = {of_matrix("gradient_of", one.index): partial(one) for one in network.matrices}
    written = tuple(kinds.get(slot, slot) for slot in launch.writes)
    return replace(launch, over=Slices(total=launch.over.total), writes=written)


def summed(network: Network, launches: Iterable[Launch], lanes: int) -> list[Launch]:
    """The sums of all slices, of each parameter that ``launches`` sum by slices: in the shares in
    which the parameter is updated."""
    written = {slot for launch in launches for slot in launch.writes}
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
