"""The Outline: what any Keras model computes, as far as shapes, costs and windows tell it.

A Graph holds what can be compiled; an Outline describes every graph of layers, compiled or not:
``describe.py`` reads it, ``fields.py`` and ``costs.py`` compute from it. Shapes are those of one
image, channels last, without the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from convmill.plan.graph import DeadEnd, Kind, Shape


@dataclass(frozen=True)
class Same:
    """Each place reads the same place of every input: activations, sums, normalization."""


@dataclass(frozen=True)
class Windows:
    """Place i of an axis reads places ``i * stride - before + k * dilation``, k below ``size``.

    ``padding`` is (top, bottom, left, right); what a window reads there is zero, or is ignored.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def extent(self) -> tuple[int, int]:
        """Places from a window's first tap to its last, holes of the dilation included."""
        return tuple((self.size[axis] - 1) * self.dilation[axis] + 1 for axis in (0, 1))  # type: ignore[return-value]


Span = tuple[int, int] | None


@dataclass(frozen=True)
class Spans:
    """For each row and each column of the output, the first and last one it reads, or None."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]


@dataclass(frozen=True)
class Flat:
    """The places of the input in one axis: a unit sees what its place saw."""


@dataclass(frozen=True)
class Whole:
    """Every value may depend on every place of every input: dense layers, global pooling."""


@dataclass(frozen=True)
class Unknown:
    """A layer that we do not know: it may read anything."""


Reads = Same | Windows | Spans | Flat | Whole | Unknown


@dataclass(frozen=True)
class Step:
    """One call of a layer.

    ``name`` is unique: layers of models inside the model stand as "inner/layer". ``layer`` is
    the layer's class. ``shape`` is that of the (first) output, ``read`` has those of what it
    reads of each of ``inputs``. ``multiply_adds`` counts those with a kernel's values for one
    image, ``operations`` everything else that is computed: comparisons, additions, activations
    (those inside the layer too), normalization. ``shared_with`` names the step that already
    counted the parameters, where a layer is used more than once. ``counted`` is False for a layer
    whose arithmetic we do not know.
    """

    name: str
    layer: str
    kind: Kind
    inputs: tuple[str, ...]
    shape: Shape
    reads: Reads
    read: tuple[Shape, ...] = ()
    parameters: int = 0
    trainable: int = 0
    multiply_adds: int = 0
    operations: int = 0
    counted: bool = True
    activation: str = "linear"
    bias: bool = False
    pool: Literal["max", "average"] | None = None
    shared_with: str | None = None

    @property
    def is_map(self) -> bool:
        """Whether the output is a feature map: height, width, channels."""
        return len(self.shape) == 3

    @property
    def is_weighted(self) -> bool:
        """Whether a kernel is multiplied with what the step reads."""
        return self.kind in ("convolution", "dense")

    @property
    def is_elementwise(self) -> bool:
        """Whether the step works on each value, or each channel, alone."""
        return self.kind in ("activation", "normalization", "dropout")

    @property
    def is_identity(self) -> bool:
        """Whether the step is an activation layer that changes nothing."""
        return self.kind == "activation" and self.activation == "linear"


@dataclass(frozen=True)
class Outline:
    """Steps in an order in which every input precedes its readers.

    ``channels_last`` is False where any layer counts channels first: then places are not known.
    ``dead_end`` is set where a model that is not built cannot be built for the shape asked for;
    the steps then end before that layer. ``held`` counts parameters that the model, or one inside
    it, holds itself, in none of its layers, and ``held_trainable`` those of them that are trained.
    """

    name: str
    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dead_end: DeadEnd | None = None
    channels_last: bool = True
    held: int = 0
    held_trainable: int = 0

    def step(self, name: str) -> Step:
        """The step called ``name``; KeyError where there is none."""
        return self._by_name[name]

    def readers(self, name: str) -> tuple[Step, ...]:
        """The steps that read the output of ``name``."""
        return tuple(self._readers.get(name, ()))

    def sole_reader(self, step: Step) -> Step | None:
        """The step that reads ``step``, where it is the only one and the model does not hand
        ``step`` out as well."""
        readers = self.readers(step.name)
        return readers[0] if len(readers) == 1 and step.name not in self.outputs else None

    @cached_property
    def _by_name(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    @cached_property
    def _readers(self) -> dict[str, list[Step]]:
        readers: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in step.inputs:
                readers.setdefault(name, []).append(step)
        return readers

    @property
    def parameters(self) -> int:
        """Parameters of all layers, shared ones counted once, and those in no layer."""
        return sum(step.parameters for step in self.steps) + self.held
