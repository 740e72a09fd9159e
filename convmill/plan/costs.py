"""What a Plan costs with dense arithmetic: parameters, multiply-adds, bytes. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.plan.graph import Convolution, Dense, Node, Plan

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """What one node costs for one image.

    ``forward`` and ``training`` count multiply-adds of convolutions and dense layers done densely;
    ``training`` is forward, plus the gradient of what the node reads (not for the first node that
    has parameters, whose input needs none), plus the gradient of its kernel. Gradients are counted
    for frozen layers too. ``output_bytes`` is the float32 output.
    """

    parameters: int
    forward: int
    training: int
    output_bytes: int


def costs(plan: Plan) -> dict[str, Cost]:
    """The cost of every node, by name, in the plan's order."""
    first = next((node for node in plan.nodes if _indices(node)), None)
    return {node.name: _cost(plan, node, first=node is first) for node in plan.nodes}


def total(plan: Plan) -> Cost:
    """The sum of all nodes' costs."""
    each = costs(plan).values()
    return Cost(
        parameters=sum(cost.parameters for cost in each),
        forward=sum(cost.forward for cost in each),
        training=sum(cost.training for cost in each),
        output_bytes=sum(cost.output_bytes for cost in each),
    )


def _cost(plan: Plan, node: Node, *, first: bool) -> Cost:
    forward = _multiply_adds(plan, node)
    return Cost(
        parameters=sum(math.prod(plan.parameters[index].shape) for index in _indices(node)),
        forward=forward,
        training=forward * (2 if first else 3),
        output_bytes=math.prod(node.shape) * FLOAT_BYTES,
    )


def _indices(node: Node) -> list[int]:
    """Indices of the node's parameters."""
    operation = node.operation
    if not isinstance(operation, (Convolution, Dense)):
        return []
    return [operation.kernel] + ([] if operation.bias is None else [operation.bias])


def _multiply_adds(plan: Plan, node: Node) -> int:
    """Each place (a pixel, or the one vector) of the output reads the whole kernel once."""
    operation = node.operation
    if not isinstance(operation, (Convolution, Dense)):
        return 0
    places = math.prod(node.shape[:-1])
    return places * math.prod(plan.parameters[operation.kernel].shape)
