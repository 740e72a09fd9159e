"""Follows any graph of Keras layers from its inputs to its outputs: who calls whom, in order.

The one file that knows how Keras stores a functional graph. What a layer computes is the subject of
``describe.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from convmill.plan.graph import Shape


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as ``x + y``).

    ``name`` is unique in the graph; layers of models inside the model are called "inner/layer", and
    the second call of a shared layer "layer (2)". ``inputs`` are names of calls, ``read`` their
    shapes; ``output`` is the (first) tensor that Keras keeps for its result, in the graph of the
    model that the layer lies in.
    """

    name: str
    layer: Any
    inputs: tuple[str, ...]
    read: tuple[Shape, ...]
    output: Any

    @property
    def shape(self) -> Shape:
        """Shape of the output for one image."""
        return tuple(self.output.shape[1:])


@dataclass(frozen=True)
class Walk:
    """Calls in an order in which every input precedes its readers."""

    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def walk(model: Any) -> Walk:
    """The calls of a built Sequential or functional model, models inside it included."""
    walker = _Walker()
    sources = {}
    for tensor in model.inputs:
        sources[id(tensor)] = walker.add(tensor._keras_history.operation, "", (), (), tensor)
    inputs = tuple(sources.values())
    walker.enter(model, sources, "")
    # a model may hand out one output twice
    outputs = tuple(dict.fromkeys(sources[id(tensor)] for tensor in model.outputs))
    return Walk(tuple(walker.calls), inputs, outputs)


class _Walker:
    """Collects calls under unique names."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.names: set[str] = set()

    def enter(self, model: Any, sources: dict[int, str], prefix: str) -> None:
        """Adds the calls inside ``model``; ``sources`` tells who made a tensor, by its id."""
        for node in _nodes(model):
            tensors = node.input_tensors
            if isinstance(node.operation, keras.Model) and _is_graph(node.operation):
                self._enter_inner(node, sources, prefix)
                continue
            inputs = tuple(dict.fromkeys(sources[id(tensor)] for tensor in tensors))
            read = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
            name = self.add(node.operation, prefix, inputs, read, node.output_tensors[0])
            for tensor in node.output_tensors:
                sources[id(tensor)] = name

    def _enter_inner(self, node: Any, sources: dict[int, str], prefix: str) -> None:
        model = node.operation
        inner = {
            id(inside): sources[id(outside)]
            for inside, outside in zip(model.inputs, node.input_tensors, strict=True)
        }
        self.enter(model, inner, f"{prefix}{model.name}/")
        for inside, outside in zip(model.outputs, node.output_tensors, strict=True):
            sources[id(outside)] = inner[id(inside)]

    def add(
        self, layer: Any, prefix: str, inputs: tuple[str, ...], read: tuple[Shape, ...], output: Any
    ) -> str:
        """Adds one call; returns its name."""
        name, count = prefix + layer.name, 1
        while name in self.names:
            count += 1
            name = f"{prefix}{layer.name} ({count})"
        self.names.add(name)
        self.calls.append(Call(name, layer, inputs, read, output))
        return name


def _is_graph(model: Any) -> bool:
    """Whether ``model`` is a built graph of layers, rather than a ``call`` written in Python."""
    return bool(getattr(_functional(model), "_nodes_by_depth", None))


def _functional(model: Any) -> Any:
    """The functional graph behind a model; Sequential holds one inside."""
    return getattr(model, "_functional", None) or model


def _nodes(model: Any) -> Iterator[Any]:
    """Calls of layers inside a model, those that only feed tensors in left out, inputs first."""
    by_depth = _functional(model)._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node
