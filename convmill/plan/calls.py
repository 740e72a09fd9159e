"""Calls of layers, and the walk that has them in order. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convmill.plan.graph.operations import AddedLoss, Penalize
from convmill.plan.graph.shapes import Shape
from convmill.plan.operations.layout import is_channels_last

CONSTANT = "constant"  # the name of variables that are made of numbers and arrays


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as ``x + y``).

    ``name`` is unique in the graph; layers of models inside the model are called "inner/layer", and
    the second call of a shared layer "layer (2)". ``sources`` names the call that made each tensor
    which this one reads, ``read`` has their shapes, ``shape`` is that of the first output, all of
    one image. ``output`` is the tensor that Keras keeps for it, in the graph of the model that the
    layer lies in. ``options`` are what else it is called with, ``given`` all of it in Keras' order,
    tensors among the rest.

    ``operands`` are what an operation is called with in its order: names of calls, numbers, and the
    weights of a product. The weights that other operations read are calls of their own, of a Keras
    variable; a call ``reads_weights`` where some of what it reads comes from such alone, and is
    ``of_weights`` where all does. ``untraceable`` says which Python code of a layer could not be
    followed, and why. A call that ``is_bare`` is a layer without its activation, which has calls of
    its own. Shapes of a ``turned`` call have channels last where the layer counts them first.
    ``training`` says for which of both the shapes are.
    """

    name: str
    layer: Any
    sources: tuple[str, ...]
    read: tuple[Shape, ...]
    shape: Shape
    output: Any
    options: tuple[Any, ...] = ()
    given: tuple[Any, ...] = ()
    operands: tuple[Any, ...] = ()
    of_weights: bool = False
    reads_weights: bool = False
    untraceable: str = ""
    is_bare: bool = False
    turned: bool = False
    training: bool = True

    @property
    def channels_last(self) -> bool:
        """Whether its shapes have channels last, as far as the layer says."""
        return self.turned or is_channels_last(self.layer)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The calls that this one reads, each once."""
        return tuple(dict.fromkeys(self.sources))


@dataclass(frozen=True)
class Penalty:
    """What is called in the place of a layer's activity_regularizer, which hands values on, or of
    its add_loss."""

    operation: Penalize | AddedLoss


@dataclass(frozen=True)
class Inner:
    """One call of a model inside the model, or of a layer whose code was followed, by its name, and
    what it is called with beside its inputs."""

    name: str
    model: Any
    options: tuple[Any, ...]


@dataclass(frozen=True)
class Walk:
    """Calls in an order in which every input precedes its readers; models inside the model stand
    in ``inner``, and the calls of their layers among the others. ``outputs`` may name one twice."""

    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inner: tuple[Inner, ...]
