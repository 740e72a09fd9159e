"""A graph cut in two: its frozen base, which computes the same in every epoch, and its head.

    [frozen conv] -> [frozen BN] -> [global pool] -> [dropout] -> [dense]
    base:  [conv] -> [BN] -> [global pool]      head:  [an input] -> [dropout] -> [dense]

The base is what depends neither on anything that training writes nor on chance. What it hands to
the head is an input of the head, by the same name.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

from convmill.plan.facts import node_multiply_adds
from convmill.plan.graph.nodes import Graph, Node
from convmill.plan.graph.operations import (
    PENALTIES,
    Augment,
    Input,
    Normalize,
    Opaque,
    Operation,
    Separable,
    Weight,
)
from convmill.plan.graph.random import RANDOM

Half = Literal["whole", "base", "head"]

FLOAT_BYTES = 4
# The fields of operations that index parameters.
_INDICES = ("kernel", "bias", "gamma", "beta", "mean", "variance", "alpha", "table", "parameter")


@dataclass(frozen=True)
class Halves:
    """Two graphs that together compute what one does.

    The base's outputs are inputs of the head, beside those inputs of the whole that the head reads
    itself. ``base_parameters`` and ``head_parameters`` say which of the whole graph's parameters
    each half has; all that are trained are the head's.
    """

    base: Graph
    head: Graph
    base_parameters: tuple[int, ...]
    head_parameters: tuple[int, ...]

    @property
    def layers(self) -> int:
        """How many layers the base has."""
        return sum(
            not isinstance(node.operation, (Input, Weight)) and node.repeats is None
            for node in self.base.nodes
        )

    @property
    def image_bytes(self) -> int:
        """Bytes of what the base computes of one image, in float32."""
        return sum(_bytes(self.base.node(name)) for name in self.base.outputs)


@lru_cache(maxsize=8)
def halves(graph: Graph) -> Halves | None:
    """``graph``, which is compiled, cut behind its frozen base, where that hands on fewest bytes;
    None where there is none that multiplies anything, nothing behind it is trained, or images have
    other sizes outside training."""
    trained = any(parameter.trainable for parameter in graph.parameters)
    if not trained or graph.inference is not None:
        return None
    settled = _settled(graph)
    kept = _narrowed(graph, settled - _given(graph, settled))
    handed_on = [node for node in graph.nodes if _is_handed_on(graph, node, kept)]
    if not handed_on or not all(node.shape for node in handed_on):  # an input has a shape
        return None
    names = [node.name for node in handed_on]
    rest = [node.name for node in graph.nodes if node.name not in settled]
    base, base_parameters = _part(graph, _behind(graph, names), names)
    head, head_parameters = _part(graph, _behind(graph, rest, names), graph.outputs)
    return Halves(base, head, base_parameters, head_parameters)


def _settled(graph: Graph) -> set[str]:
    """The nodes whose values no step of training changes; what is handed out is never one."""
    written = {number for number, one in enumerate(graph.parameters) if one.trainable}
    for node in graph.nodes:
        operation = node.operation
        if isinstance(operation, Normalize) and operation.kind == "batch" and not operation.frozen:
            written |= set(_parameters_of(node))
    found: set[str] = set()
    for node in graph.nodes:
        same = not isinstance(node.operation, (*RANDOM, *PENALTIES, Augment, Opaque))
        same = same and written.isdisjoint(_parameters_of(node)) and found.issuperset(node.inputs)
        sources = (graph.node(name).operation for name in node.inputs)
        of_images = not node.inputs or not all(isinstance(one, Weight) for one in sources)
        if same and of_images and node.name not in graph.outputs:
            found.add(node.name)
    return found


def _given(graph: Graph, settled: Container[str]) -> set[str]:
    """The nodes among ``settled`` that are there, or made of what is there, without a product of
    a kernel: inputs to begin with. Either half has of them what it reads."""
    found: set[str] = set()
    for node in graph.nodes:
        own = node.name in settled and not node_multiply_adds(graph, node)
        if own and found.issuperset(node.inputs):
            found.add(node.name)
    return found


def _narrowed(graph: Graph, kept: Iterable[str]) -> set[str]:
    """``kept`` without the nodes at its end that multiply nothing and write more than they read:
    the head computes those at no cost, and reads less for it."""
    found = set(kept)
    for node in reversed(graph.nodes):
        if not _is_handed_on(graph, node, found) or node_multiply_adds(graph, node):
            continue
        sources = (graph.node(name) for name in dict.fromkeys(node.inputs) if name in found)
        more = (_bytes(one) for one in sources if not _is_handed_on(graph, one, found))
        if sum(more) < _bytes(node):
            found.remove(node.name)
    return found


def _is_handed_on(graph: Graph, node: Node, kept: Container[str]) -> bool:
    """Whether a node is one of ``kept`` that another node reads."""
    readers = graph.readers(node.name)
    return node.name in kept and any(reader.name not in kept for reader in readers)


def _bytes(node: Node) -> int:
    """What it takes to keep a node's values for one image."""
    return FLOAT_BYTES * math.prod(node.shape)


def _behind(graph: Graph, ends: Iterable[str], inputs: Iterable[str] = ()) -> list[Node]:
    """``ends`` and all that they depend on, in the graph's order; ``inputs`` depend on nothing."""
    wanted, cut = set(ends), set(inputs)
    for node in reversed(graph.nodes):
        if node.name in wanted and node.name not in cut:
            wanted |= set(node.inputs)
    nodes = (node for node in graph.nodes if node.name in wanted)
    return [Node(one.name, Input(), (), one.shape) if one.name in cut else one for one in nodes]


def _part(graph: Graph, nodes: list[Node], outputs: Iterable[str]) -> tuple[Graph, tuple[int, ...]]:
    """A graph of some nodes, and which of the whole graph's parameters it has."""
    held = tuple(sorted({number for node in nodes for number in _parameters_of(node)}))
    numbers = {number: position for position, number in enumerate(held)}
    inside = {node.name for node in nodes if node.inputs}
    own = tuple(
        replace(
            node,
            operation=_renumbered(node.operation, numbers),
            parameters=tuple(numbers[number] for number in node.parameters),
            repeats=node.repeats if node.repeats in inside else None,
        )
        for node in nodes
    )
    parameters = tuple(graph.parameters[number] for number in held)
    inputs = tuple(node.name for node in own if isinstance(node.operation, Input))
    return Graph(own, parameters, inputs, tuple(outputs), graph.channels_last), held


def _parameters_of(node: Node) -> Iterable[int]:
    """The parameters that a node holds or reads."""
    return dict.fromkeys((*node.parameters, *_read_by(node.operation).values()))


def _read_by(operation: Operation) -> dict[str, int]:
    """The fields of an operation that index parameters, and what they hold."""
    names = (field.name for field in fields(operation) if field.name in _INDICES)
    found = {name: getattr(operation, name) for name in names}
    return {name: number for name, number in found.items() if number is not None}


def _renumbered(operation: Operation, numbers: Mapping[int, int]) -> Operation:
    """An operation that reads its parameters by other numbers."""
    if isinstance(operation, Separable):
        both = (operation.depthwise, operation.pointwise)
        depthwise, pointwise = (replace(one, **_moved(one, numbers)) for one in both)
        return Separable(depthwise, pointwise)
    return replace(operation, **_moved(operation, numbers))


def _moved(operation: Operation, numbers: Mapping[int, int]) -> dict[str, Any]:
    return {name: numbers[number] for name, number in _read_by(operation).items()}
