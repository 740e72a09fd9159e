"""Nodes, and the Graph that they make. Which operations there are is told by ``operations.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from convmill.plan.graph.operations import PENALTIES, AddedLoss, Operation
from convmill.plan.graph.parameters import Parameter
from convmill.plan.graph.random import RANDOM, Draw, draws_of
from convmill.plan.graph.shapes import Shape
from convmill.plan.refusals import Refusal


@dataclass(frozen=True)
class Node:
    """One step of the graph: ``operation`` on the outputs of ``inputs`` (names of nodes).

    ``layer`` is the class of the layer that it was read from. ``read`` has the shapes of what it
    reads where they are not those of its inputs (another output of a layer with several).
    ``parameters`` indexes all that the layer holds. ``repeats`` names the first call of a layer
    that is called more than once. ``refusal`` is set where the layer does something that its
    operation does not say.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    shape: Shape
    layer: str = ""
    read: tuple[Shape, ...] = ()
    parameters: tuple[int, ...] = ()
    repeats: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class DeadEnd:
    """Where shapes come to an end: the layer that cannot be applied, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which every input precedes its reader; parameters in Keras' order.

    ``inputs`` and ``outputs`` name nodes. ``channels_last`` is False where any layer counts
    channels first: then places are not known. ``dead_end`` is set where the model cannot be built
    for the size asked for; the nodes then end before that layer. ``refusal`` is what the model as a
    whole asks for and no node says. Parameters that no node holds are the model's own.
    ``inference`` are the same nodes outside training, where images have other sizes there.
    """

    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    channels_last: bool = True
    dead_end: DeadEnd | None = None
    refusal: Refusal | None = None
    inference: tuple[Node, ...] | None = None

    @property
    def input_shape(self) -> Shape:
        """Shape of one input image, of a graph with one input."""
        return self.node(self.inputs[0]).shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the net's output for one image, of a graph with one output."""
        return self.node(self.outputs[0]).shape

    @cached_property
    def penalties(self) -> tuple[Literal["mean", "sum"], ...]:
        """What is taken over a batch's images of each penalty of what layers compute."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, PENALTIES))
        return tuple(one.over if isinstance(one, AddedLoss) else "mean" for one in found)

    @property
    def dropouts(self) -> int:
        """How many calls of layers draw random numbers."""
        return len(self.draws)

    @cached_property
    def draws(self) -> tuple[int, ...]:
        """How often each call that draws random numbers asks Keras for a seed in a step, by its
        ``seed``: once, or once for each number that an image needs."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, RANDOM))
        counts = {one.seed: draws_of(one) for one in found}
        return tuple(counts[seed] for seed in sorted(counts))

    @cached_property
    def draws_always(self) -> tuple[bool, ...]:
        """Whether each of these calls draws outside training as well."""
        found = (node.operation for node in self.nodes if isinstance(node.operation, RANDOM))
        always = {one.seed: isinstance(one, Draw) for one in found}
        return tuple(always[seed] for seed in sorted(always))

    def outside_training(self) -> Graph:
        """The graph of evaluation and prediction."""
        if self.inference is None:
            return self
        return replace(self, nodes=self.inference, inference=None)

    def node(self, name: str) -> Node:
        """The node called ``name``; KeyError where there is none."""
        return self._by_name[name]

    def read(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of what ``node`` reads of each of its inputs."""
        return node.read or tuple(self.node(name).shape for name in node.inputs)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the output of ``name``, each once."""
        return tuple(self._readers.get(name, ()))

    def sole_reader(self, name: str) -> Node | None:
        """The node that reads ``name``, where it is the only one and the graph does not hand
        ``name`` out as well."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return readers
