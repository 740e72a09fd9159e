"""Which sums over the images of a batch are taken for each slice of it apart.

    dW: shares, of all images         =>  dW: images, a slice's sums | the sum of slices: shares

Gradients of weights read what images have left behind, most of which was written by another core,
and that is slower than all that they compute. Where weights are few, a slice of the batch has sums
of its own: a thread that has computed the gradients of some images goes on with what it still has
in its caches, nothing of it is in a record, and only the sums cross from core to core.

A batch has the same slices, in the same order, whoever computes them: no bit depends on threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from convmill.lower.launches import Launch, Shares, Slices, Slot, of_matrix, partial
from convmill.lower.network import Matrix, Network

SLICES = 16  # of a batch, at most: so many threads share it, and so many sums are added up
# The images that leave as many bytes behind as the sums have: where it takes more, shares are left;
# and so they are where sums would not stay in the second cache beside what they are made of.
WORTH_IMAGES = 8
MOST_BYTES = 256 * 1024


def slice_size(images: int, least: int, group: int) -> int:
    """Images of each slice of a batch: a power of two, or whole groups. So slices end where groups
    do, however a batch is cut into parts."""
    size = max(least, -(-images // SLICES))
    return 1 << (size - 1).bit_length() if size <= group else -(-size // group) * group


def sliced(network: Network, launches: Sequence[Launch]) -> dict[str, list[Launch]]:
    """Those of ``launches``, which sum gradients over shares, that go over slices instead, by the
    stage. All that write to a parameter do, or none."""
    least = _least(network, launches)
    return {
        of: [replace(one, over=_slices(one, least[of]), writes=_partials(network, one))
             for one in launches if one.of == of]
        for of in least
    }  # fmt: skip


def _least(network: Network, launches: Sequence[Launch]) -> dict[str, int]:
    """The stages whose sums are taken by slices, and how many images are worth one."""
    found = {}
    for of in dict.fromkeys(launch.of for launch in launches):
        own = [launch for launch in launches if launch.of == of]
        read = {slot for launch in own for slot in launch.reads if slot.home == "image"}
        sums = sum(partial(matrix).bytes for matrix in _written(network, own))
        least = math.ceil(sums / max(1, sum(slot.bytes for slot in read)))
        if least <= WORTH_IMAGES and sums <= MOST_BYTES:
            found[of] = 1 << (least - 1).bit_length()
    return _agreed(network, launches, found)


def _agreed(
    network: Network, launches: Sequence[Launch], found: Mapping[str, int]
) -> dict[str, int]:
    """Without the stages that share a parameter with one that is not among them."""
    others = _written(network, [launch for launch in launches if launch.of not in found])
    out = {
        launch.of
        for launch in launches
        if launch.of in found and set(_written(network, [launch])) & set(others)
    }
    left = {of: least for of, least in found.items() if of not in out}
    return _agreed(network, launches, left) if out else left


def _written(network: Network, launches: Iterable[Launch]) -> list[Matrix]:
    """The parameters whose gradients some launches sum."""
    written = {slot for launch in launches for slot in launch.writes}
    return [one for one in network.matrices if of_matrix("gradient_of", one.index) in written]


def _slices(launch: Launch, least: int) -> Slices:
    assert isinstance(launch.over, Shares)
    return Slices(together=True, total=launch.over.total, least=least)


def _partials(network: Network, launch: Launch) -> tuple[Slot, ...]:
    """What a launch writes where it sums over a slice."""
    kinds = {of_matrix("gradient_of", one.index): partial(one) for one in network.matrices}
    return tuple(kinds.get(slot, slot) for slot in launch.writes)


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
