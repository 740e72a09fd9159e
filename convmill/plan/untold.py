"""What is trained of a model whose own ``call`` has no ``training``: Keras does not tell its layers
that it fits, so that they work as outside training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convmill.plan.graph.activations import LINEAR
from convmill.plan.graph.nodes import Node
from convmill.plan.graph.operations import Activate, Normalize
from convmill.plan.graph.random import RANDOM, Draw
from convmill.plan.read import Reading


def outside_training(reading: Reading, model: Any) -> Reading:
    """The reading of such a model, in which training does what the others do; with a note, for
    nobody means that, where some layer would do something else."""
    graph = reading.graph.outside_training()
    nodes: list[Node] = []
    draws: list[Any] = []
    changed: Node | None = None
    for node in graph.nodes:
        operation = node.operation
        if isinstance(operation, Draw):
            draws.append(reading.dropouts[operation.seed])
            nodes.append(replace(node, operation=replace(operation, seed=len(draws) - 1)))
        elif isinstance(operation, RANDOM):
            changed = changed or node
            nodes.append(replace(node, operation=Activate(LINEAR)))
        elif isinstance(operation, Normalize) and operation.kind == "batch":
            changed = changed or (None if operation.frozen else node)
            nodes += _by_moving_statistics(node, operation)
        else:
            nodes.append(node)
    if changed is None:
        return reading
    note = (
        f"{type(model).__name__} has a call without `training`, so that Keras fits it with layer "
        f"{changed.name!r} ({changed.layer}) as outside training; write "
        "call(self, inputs, training=None) if that is not meant"
    )
    notes = (*reading.notes, note)
    graph = replace(graph, nodes=tuple(nodes))
    return replace(reading, graph=graph, dropouts=tuple(draws), notes=notes)


def _by_moving_statistics(node: Node, operation: Normalize) -> list[Node]:
    """A batch normalization by what it has kept, and its scale and offset, which are trained, as a
    node of their own: those of a frozen layer are not."""
    fixed = replace(operation, frozen=True, gamma=None, beta=None)
    scales = tuple(one for one in (operation.gamma, operation.beta) if one is not None)
    if operation.frozen or not scales:
        return [replace(node, operation=replace(operation, frozen=True))]
    kept = tuple(one for one in node.parameters if one not in scales)
    first = replace(node, name=f"{node.name}/normalized", operation=fixed, parameters=kept)
    scaled = Normalize("fixed", gamma=operation.gamma, beta=operation.beta)
    return [first, replace(node, operation=scaled, inputs=(first.name,), parameters=scales)]
