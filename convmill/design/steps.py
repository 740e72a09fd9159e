"""The Design: a Graph with what follows from its operations beside each of its nodes.

Shapes are those of one image, channels last, without the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convmill.plan.facts import Facts, facts
from convmill.plan.graph.nodes import DeadEnd, Graph, Node
from convmill.plan.graph.operations import Kind, PoolingKind
from convmill.plan.graph.shapes import Shape
from convmill.plan.read import describe
from convmill.plan.reads import Reads


@dataclass(frozen=True)
class Step:
    """A node and its facts.

    ``read`` has the shapes of what it reads of each of ``inputs``, which are unique. ``parameters``
    counts the values of those that no step before it holds, ``trainable`` those of them that are
    trained.
    """

    node: Node
    facts: Facts
    inputs: tuple[str, ...]
    read: tuple[Shape, ...]
    parameters: int = 0
    trainable: int = 0

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def layer(self) -> str:
        """The layer's class."""
        return self.node.layer

    @property
    def shape(self) -> Shape:
        """Shape of what it writes."""
        return self.node.shape

    @property
    def shared_with(self) -> str | None:
        """The step that already counted the parameters, where a layer is used more than once."""
        return self.node.repeats

    @property
    def kind(self) -> Kind:
        """What kind of layer it is."""
        return self.facts.kind

    @property
    def reads(self) -> Reads:
        """Which places each of its places reads."""
        return self.facts.reads

    @property
    def multiply_adds(self) -> int:
        """Products with a kernel's values, for one image."""
        return self.facts.multiply_adds

    @property
    def operations(self) -> int:
        """What else it computes for one image."""
        return self.facts.operations

    @property
    def counted(self) -> bool:
        """Whether its arithmetic is known."""
        return self.facts.counted

    @property
    def activation(self) -> str:
        """Name of the activation that it computes."""
        return self.facts.activation.name

    @property
    def bias(self) -> bool:
        """Whether it adds a bias to products."""
        return self.facts.adds_bias

    @property
    def pool(self) -> PoolingKind | None:
        """What it takes of windows."""
        return self.facts.pooling

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
class Design:
    """Steps in the order of the graph's nodes.

    ``held`` counts parameters that the model, or one inside it, holds itself, in none of its
    layers, and ``held_trainable`` those of them that are trained.
    """

    graph: Graph
    steps: tuple[Step, ...]
    held: int = 0
    held_trainable: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the steps that images come from."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the steps that the model hands out, each once."""
        return tuple(dict.fromkeys(self.graph.outputs))

    @property
    def channels_last(self) -> bool:
        """False where any layer counts channels first: then places are not known."""
        return self.graph.channels_last

    @property
    def dead_end(self) -> DeadEnd | None:
        """Where shapes come to an end."""
        return self.graph.dead_end

    def step(self, name: str) -> Step:
        """The step called ``name``; KeyError where there is none."""
        return self._by_name[name]

    def readers(self, name: str) -> tuple[Step, ...]:
        """The steps that read the output of ``name``."""
        return tuple(self.step(node.name) for node in self.graph.readers(name))

    def sole_reader(self, step: Step) -> Step | None:
        """The step that reads ``step``, where it is the only one and the model does not hand
        ``step`` out as well."""
        reader = self.graph.sole_reader(step.name)
        return self.step(reader.name) if reader else None

    @cached_property
    def _by_name(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    @property
    def parameters(self) -> int:
        """Parameters of all layers, shared ones counted once, and those in no layer."""
        return sum(step.parameters for step in self.steps) + self.held


def design_of(model: Any, input_shape: Shape | None = None) -> Design:
    """The Design of any Keras model; arguments and errors are those of ``plan.read.describe``."""
    return design_of_graph(describe(model, input_shape))


def design_of_graph(graph: Graph) -> Design:
    """The Design of a graph."""
    counted: set[int] = set()
    steps = []
    for node in graph.nodes:
        new = set(node.parameters) - counted
        counted |= new
        shapes = dict(zip(node.inputs, graph.read(node), strict=True))
        total, trained = _values(graph, new)
        steps.append(
            Step(node, facts(graph, node), tuple(shapes), tuple(shapes.values()), total, trained)
        )
    rest = set(range(len(graph.parameters))) - counted
    return Design(graph, tuple(steps), *_values(graph, rest))


def _values(graph: Graph, indices: Iterable[int]) -> tuple[int, int]:
    """Values of parameters, and of those that are trained."""
    found = [graph.parameters[index] for index in indices]
    sizes = [(math.prod(one.shape), one.trainable) for one in found]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)
