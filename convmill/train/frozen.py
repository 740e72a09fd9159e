"""What a net's frozen base computes of a fit's images: once, for as long as it stays what it is.

An epoch then trains the head, which is bound like a whole net, on the base's outputs, which are
arrays like all others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmill.plan.graph.nodes import Graph
from convmill.plan.halves import Halves, halves
from convmill.train.arrays import Given
from convmill.train.attach.building import measures_built
from convmill.train.bound import Bound
from convmill.train.feed import ArrayFeed
from convmill.train.loaded import Snapshot, is_same
from convmill.train.pieces import Outputs
from convmill.train.progress import Progress
from convmill.train.samples import AT_ONCE_BYTES, in_place

if TYPE_CHECKING:
    from convmill.runtime.program import Kind, Measured

# What a base computes of all images is kept where it takes no more.
KEPT_BYTES = 512_000_000


@dataclass(frozen=True)
class _Computed:
    """``features`` float32 (n, *shape), one for each output of the base, and what they came of."""

    graph: Graph
    weights: Sequence[Snapshot]
    checksum: int
    features: Outputs

    def is_of(self, base: Bound, checksum: int) -> bool:
        """Whether the base would compute the same of images with this checksum."""
        same = self.graph == base.graph and self.checksum == checksum
        return same and all(map(is_same, self.weights, base.weights))


class FrozenBase:
    """The frozen base of a net that runs through arrays for several epochs, where it has one.

    Whatever may have changed since its outputs were computed is looked at in each epoch: which
    layers are frozen, their weights, and the numbers in the images, of which a checksum is kept.
    """

    def __init__(self, bound: Bound, feed: ArrayFeed) -> None:
        self.bound, self.feed = bound, feed
        self._arrays = feed.arrays
        self._sizes = feed.arrays.target().sizes
        self._computed: _Computed | None = None

    def compile(self, kind: Kind) -> bool:
        """Builds native code for both halves, the head's of a ``kind``; False where the whole net
        would run."""
        self.bound.resize(self._sizes)
        if self._halves() is None:
            return False
        self.bound.half("head").program.code(kind)
        self.bound.half("base").program.code("inference")
        return True

    def begin(self, progress: Progress, heard: bool) -> Bound:
        """What an epoch that begins runs on the feed: the head, or the whole net. That runs where
        somebody is ``heard`` in the midst of the epoch, who may change images, and where Keras
        builds metrics on them."""
        self.bound.resize(self._sizes)  # it may have been at work on others
        both = None if heard or not measures_built(self.bound.model) else self._halves()
        if both is None:
            self._let_go()
            return self.bound
        given = dict(zip(self.bound.graph.inputs, self._arrays.given.x, strict=True))
        images = Given(tuple(given[name] for name in both.base.inputs))
        features = self._features(images, progress)
        given |= zip(both.base.outputs, features, strict=True)
        self.feed.arrays = self._arrays.over(tuple(given[name] for name in both.head.inputs))
        return self.bound.half("head")

    def _halves(self) -> Halves | None:
        """The net cut in two, where that can be and memory is enough."""
        both = halves(self.bound.graph)
        if both is None or both.image_bytes * len(self._arrays) > KEPT_BYTES:
            return None
        return both

    def _let_go(self) -> None:
        """The images in the feed again, and the memory of what was computed of them free."""
        self._computed = None
        self.feed.arrays = self._arrays

    def _features(self, images: Given, progress: Progress) -> Outputs:
        """What the base computes of all images."""
        base = self.bound.half("base")
        base.pull_weights()
        checksum, last = _checksum(images), self._computed
        if last is not None and last.is_of(base, checksum):
            return last.features
        self._let_go()

        def watch(measured: Measured) -> None:
            if progress.wants_update():
                progress.update(0, {})

        features = base.room(len(images))
        for place, piece in _pieces(images):
            x = tuple(map(in_place, piece.x))
            base.predict_into([one[place] for one in features], x, watch)
        self._computed = _Computed(base.graph, base.weights, checksum, features)
        return features


def _checksum(images: Given) -> int:
    """Of all numbers in their order. CRC-32 tells any change of up to 32 bits in a row for certain,
    and misses one of 2**32 others; it costs a small part of what a base computes."""
    found = 0
    for _, piece in _pieces(images):
        for x in piece.x:
            found = zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data, found)
    return found


def _pieces(images: Given) -> Iterator[tuple[slice, Given]]:
    """Some images at once, and their places: they may be more than memory holds."""
    rows = images.rows_within(AT_ONCE_BYTES)
    for first in range(0, len(images), rows):
        yield slice(first, first + rows), images.part(first, first + rows)
