"""What a step is made of, as data: memory slots, launches of kernels, phases between barriers.

A launch is one kernel with what it reads and writes. Who computes what when, where a barrier must
stand and how long memory lives follow from that: see ``cut.py`` and ``lifetimes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.network import Matrix
from convmill.lower.tensors import Tensor

Home = Literal["image", "thread", "slice", "batch"]


@dataclass(frozen=True)
class Slot:
    """Memory that launches read and write, by a name that is unique in a net.

    ``home`` says whose it is: the "batch" has one of it (weights, losses; the caller's arrays),
    each "image" of a batch has its own, of ``bytes`` bytes, or each image of the group that a
    "thread" is at, which ``lifetimes`` finds out, and each "slice" of a batch its sums.
    Where there is a ``border`` of zeros, which is set once, that is a tensor of the slot's form: it
    shares memory with its like alone. What is ``kept`` is read behind a run, for reports.
    """

    name: str
    bytes: int = 0
    home: Home = "batch"
    border: Tensor | None = None
    kept: bool = False

    def __hash__(self) -> int:
        return hash(self.name)  # which is unique; passes look slots up all the time


@dataclass(frozen=True)
class Images:
    """Over the images of a batch, by groups; a kernel is called for each image, or for a group, of
    which it computes so many ``together``."""

    together: int = 0


@dataclass(frozen=True)
class Slices(Images):
    """Over the images of a batch, by slices of it: one group behind the other, all ``total`` items
    for each. What is summed over images is summed for each slice apart."""

    total: int = 0


@dataclass(frozen=True)
class Shares:
    """Over ``total`` items, cut into shares of whole ``multiple``s, for all images of a batch."""

    total: int
    multiple: int = 1


@dataclass(frozen=True)
class Launch:
    """One kernel of a stage ("stage3"), a parameter ("matrix2") or the whole net ("net").

    ``work`` tells how much there is to do, to begin with the largest; ``scratch`` is in float32
    elements of a thread's own, and ``sums`` the bytes of all sums over images that go through it,
    where it writes others; ``wanted`` names what the caller must have asked for. One that
    ``adds`` goes on from what another launch of its step has written. One that is ``repeatable``
    writes one slot, at little cost, and may do so ``again`` in a later phase (``again.py``).
    """

    kernel: str
    of: str
    over: Images | Shares
    reads: tuple[Slot, ...]
    writes: tuple[Slot, ...]
    work: int = 0
    scratch: int = 0
    sums: int = 0
    wanted: Literal["outputs", "labels"] | None = None
    adds: bool = False
    repeatable: bool = False
    again: bool = False

    @property
    def number(self) -> int:
        """The number of the stage or the parameter."""
        return int(self.of.lstrip("abcdefghijklmnopqrstuvwxyz"))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """What is read and written, each once."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


Work = tuple[Launch, ...]  # one behind the other, by whoever takes an image or a share


@dataclass(frozen=True)
class Phase:
    """What threads do between two barriers: works that none of the others reads or overwrites.

    A phase over images is one work, done for each group of images; one over shares has many, each
    cut into as many shares as there are threads.
    """

    works: tuple[Work, ...]

    @property
    def over_images(self) -> bool:
        """Whether the phase goes over images."""
        return isinstance(self.works[0][0].over, Images)

    @property
    def together(self) -> int:
        """The most images that one of its launches computes together."""
        overs = (launch.over for work in self.works for launch in work)
        return max((over.together for over in overs if isinstance(over, Images)), default=0)

    @property
    def sliced(self) -> bool:
        """Whether it goes over the images of slices."""
        return any(isinstance(launch.over, Slices) for work in self.works for launch in work)


@dataclass(frozen=True)
class Step:
    """Phases in order: ``call`` once for each call of native code, then for each batch ``part`` for
    each part of it that fits in memory, and ``batch`` once behind them."""

    call: tuple[Phase, ...]
    part: tuple[Phase, ...]
    batch: tuple[Phase, ...]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All phases."""
        return self.call + self.part + self.batch

    def launches(self) -> Iterator[Launch]:
        """All launches."""
        for phase in self.phases:
            for work in phase.works:
                yield from work


# Slots by what they hold -------------------------------------------------------------------------


def value(tensor: Tensor) -> Slot:
    """Values of a tensor, float32, its halo counted."""
    border = replace(tensor, buffer=0, use=0) if any(tensor.halo) else None
    return Slot(f"value/{tensor.buffer}", FLOAT_BYTES * tensor.size, "image", border)


def gradient(tensor: Tensor) -> Slot:
    """Gradients of a tensor, float32, its halo counted: those that its reader leaves, or all."""
    use = f"/{tensor.use}" if tensor.use else ""
    return Slot(f"gradient/{tensor.buffer}{use}", FLOAT_BYTES * tensor.size, "image")


def argmax(tensor: Tensor, entry_bytes: int) -> Slot:
    """Places of the maxima in a pooled ``tensor``, one entry a value."""
    return Slot(f"argmax/{tensor.buffer}", entry_bytes * tensor.values, "image")


def live_lists(tensor: Tensor) -> tuple[Slot, Slot, Slot]:
    """Live places behind a convolution that writes ``tensor``: for each filter gradients (float32)
    and offsets of windows (int32), filters x places both, and how many there are (int32)."""
    names = (f"live/{tensor.buffer}/{part}" for part in ("gradient", "offset", "count"))
    sizes = (tensor.values, tensor.values, tensor.channels)
    gradients, offsets, counts = (
        Slot(name, FLOAT_BYTES * size, "image") for name, size in zip(names, sizes, strict=True)
    )
    return gradients, offsets, replace(counts, kept=True)


def of_matrix(kind: str, index: int) -> Slot:
    """What there is one of for each parameter: ``kind`` is parameter, gradient_of, state, pack
    (the transposed copy), transform, turned (Winograd's) or norm."""
    return Slot(f"{kind}/{index}")


def partial(matrix: Matrix) -> Slot:
    """The sum of a parameter's gradients over a slice of a batch."""
    return Slot(f"partial/{matrix.index}", FLOAT_BYTES * matrix.size, "slice")


def of_matrices(kind: str, matrices: tuple[Matrix, ...]) -> tuple[Slot, ...]:
    """``of_matrix`` for each."""
    return tuple(of_matrix(kind, matrix.index) for matrix in matrices)


# The caller's arrays.
IMAGES, ORDER, LABELS, SAMPLE_WEIGHTS, SEEDS, HYPER = map(
    Slot, ("images", "order", "labels", "sample_weights", "seeds", "hyper")
)
OUTPUTS, LOSSES, CORRECT, PENALTIES, ACTIVITIES = map(
    Slot, ("outputs", "losses", "correct", "penalties", "activities")
)
# The function that computes losses outside, and a batch's predictions and gradients on its way.
BRIDGE, HANDED_OVER, RETURNED = map(Slot, ("bridge", "handed_over", "returned"))
