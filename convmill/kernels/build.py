"""The function of one launch while it is being written: its slots as pointers, and where it stands.

Who calls it, for which images or which share, is the subject of ``run.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from convmill.kernels import ir
from convmill.kernels.lang import BIT, F32, I8, I64, POINTER, Emitter, Index
from convmill.lower.launches import Images, Launch, Slices, Slot, of_matrix
from convmill.lower.lifetimes import Memory
from convmill.lower.machine import Machine
from convmill.lower.network import Matrix, Network
from convmill.lower.stages import Stage

S = TypeVar("S", bound=Stage)

# What a launch is told beside the addresses of its slots, by name. For each image: the context,
# where it stands in the order of all images and in its batch, the optimizer's step, the loss'
# factor, and memory of the thread's own.
EACH_IMAGE: dict[str, ir.Type] = {
    "context": POINTER,
    "position": I64,
    "place": I64,
    "iteration": I64,
    "scale": F32,
    "scratch": POINTER,
}
# For all images of a group at once also how many they are.
TOGETHER = {**EACH_IMAGE, "images": I64}
# For a group of a slice: how many images, whether they are the first that are summed, memory of the
# thread's own, and the items to take, which are all.
SLICE: dict[str, ir.Type] = {
    "images": I64,
    "fresh": I64,
    "scratch": POINTER,
    "first": I64,
    "last": I64,
}
# For all images that are there: the step of the call, and the items of the share.
SHARE = {"step": I64, **SLICE}


def told(launch: Launch) -> dict[str, ir.Type]:
    """What a launch is told, by name."""
    if isinstance(launch.over, Slices):
        return SLICE
    if isinstance(launch.over, Images):
        return TOGETHER if launch.over.together else EACH_IMAGE
    return SHARE


def strided(launch: Launch) -> list[Slot]:
    """Slots of images, where the launch goes through images by itself: behind the rest it is told
    how many bytes there are from one image's to the next's. So wherever they lie, the code is the
    same."""
    if told(launch) is EACH_IMAGE:
        return []
    return [slot for slot in launch.slots if slot.home == "image"]


@dataclass(frozen=True, eq=False)
class Build:
    """What every emitting function needs: the module being filled, the lowered net, its memory and
    the processor. ``helpers`` are functions that several launches call; launches of equal code
    ``share`` it: blocks of a net that are alike are compiled once. ``places`` are those of the
    launches' ticks, where they are counted."""

    module: ir.Module
    network: Network
    memory: Memory
    machine: Machine
    share: bool = True
    places: Mapping[Launch, int] = field(default_factory=dict)
    helpers: dict[object, ir.Function] = field(default_factory=dict)
    _texts: dict[str, ir.Function] = field(default_factory=dict)

    def matrix(self, launch: Launch) -> Matrix:
        """The parameter of a launch."""
        return self.network.matrices[launch.number]

    def helper(self, key: object, write: Callable[[], ir.Function]) -> ir.Function:
        """A function that launches share, written when it is first asked for."""
        if key not in self.helpers:
            self.helpers[key] = write()
        return self.helpers[key]

    def once(self, function: ir.Function) -> ir.Function:
        """``function``, or the one before it that differs from it in its name alone."""
        if not self.share:
            return function
        known = self._texts.setdefault(function.body(), function)
        if known is not function:
            del self.module.globals[function.name]
        return known


class Kernel(Emitter):
    """The function of one launch. Its arguments are addresses of the launch's slots, those of one
    image or of the first of them, and what it is told."""

    def __init__(self, build: Build, launch: Launch) -> None:
        self.build, self.launch = build, launch
        kinds, slots, apart = told(launch), launch.slots, strided(launch)
        again = ".again" if launch.again else ""
        name = f"{launch.of}.{launch.kernel.replace('.', '_')}{again}"
        types = [*(POINTER for _ in slots), *kinds.values(), *(I64 for _ in apart)]
        super().__init__(build.module, name, types, build.machine.lanes)
        sliced = isinstance(launch.over, Slices)
        if isinstance(launch.over, Images) and not sliced:
            self.no_alias()  # for sums the promise made LLVM's code no faster, if not slower
        self._pointers = dict(zip((slot.name for slot in slots), self.arguments, strict=False))
        if sliced:  # who sums need not know over what
            for slot in launch.writes:
                if slot.home == "slice":
                    whole = of_matrix("gradient_of", int(slot.name.partition("/")[2]))
                    self._pointers[whole.name] = self._pointers[slot.name]
        self._told = dict(zip(kinds, self.arguments[len(slots) :], strict=False))
        strides = self.arguments[len(slots) + len(kinds) :]
        self._strides = dict(zip((slot.name for slot in apart), strides, strict=True))

    def stage(self, kind: type[S]) -> S:
        """The launch's stage, which is of that kind."""
        found = self.build.network.stages[self.launch.number]
        assert isinstance(found, kind)
        return found

    def pointer(self, slot: Slot) -> ir.Value:
        """Address of a slot; KeyError for one that the launch neither reads nor writes."""
        return self._pointers[slot.name]

    def told(self, name: str) -> ir.Value:
        """What the launch is told by that name."""
        return self._told[name]

    def record(self, slot: Slot, image: Index) -> ir.Value:
        """Address of a slot of the ``image``-th image, counted from the one handed over."""
        away = 0 if image == 0 else self.mul(image, self.stride(slot))
        return self.at(self.pointer(slot), away, I8)

    def stride(self, slot: Slot) -> ir.Value:
        """Bytes from a slot of one image to that of the next; KeyError where the launch is called
        for each image."""
        return self._strides[slot.name]

    def is_fresh(self) -> ir.Value:
        """Whether nothing is stored yet: the images at hand are the first of their batch, or of
        their slice."""
        if self.launch.adds:
            return ir.Constant(BIT, 0)
        return self.builder.icmp_signed("!=", self.told("fresh"), ir.Constant(I64, 0))

    def zero_if_fresh(self, result: ir.Value, row: int) -> None:
        """Zeroes rows of so many float32, those of the share, where nothing is stored yet."""
        with self.when(self.is_fresh()), self.loop(self.told("first"), self.told("last")) as item:
            self.fill_zero(self.at(result, self.mul(item, row)), row)

    def share(self, size: int) -> Iterator[tuple[Index, int]]:
        """Each vector of the share of ``size`` elements, cut by whole vectors: where it starts, and
        how many elements it has. A loop ends when the next vector is asked for."""
        first, last = self.told("first"), self.told("last")
        whole = size - size % self.lanes
        if whole:
            with self.loop(first, self.minimum(last, whole), self.lanes) as start:
                yield start, self.lanes
        if size > whole:
            with self.when(self.less(whole, last)):
                yield whole, size - whole

    def unless_fresh(self, stored: ir.Value) -> ir.Value:
        """What is ``stored`` of images before, or zeros where there were none."""
        return self.builder.select(self.is_fresh(), ir.Constant(stored.type, None), stored)
