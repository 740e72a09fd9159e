"""Layers that count channels first, read into a graph that counts them last.

Such a layer is read as one that counts them last, of an image that is turned before it and behind
it. What works on each value alone is computed on turned images where it finds them, so that an
image is turned once on the way in, and once where places of the output matter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from convmill.plan.calls import Call
from convmill.plan.functions import OF_ALL
from convmill.plan.graph.moves import Move
from convmill.plan.graph.nodes import Node
from convmill.plan.graph.operations import Activate, Concatenate, Merge, Penalize, Rescale
from convmill.plan.graph.random import Dropout, Noise
from convmill.plan.graph.shapes import Shape
from convmill.plan.moves import whole
from convmill.plan.operations.layout import is_channels_last


def turned(call: Call) -> Call:
    """The call of a layer that counts channels first, with the shapes of an image turned; any other
    call as it is."""
    if not _counts_first(call.layer) or not all(len(shape) in (2, 3) for shape in call.read):
        return call
    read = tuple(map(_last, call.read))
    shape = _last(call.shape) if len(call.shape) == len(call.read[0]) else call.shape
    return replace(call, read=read, shape=shape, turned=True)


def _counts_first(layer: Any) -> bool:
    if isinstance(layer, layers.BatchNormalization):
        return layer.axis in (1, [1], (1,))
    return not is_channels_last(layer)


def _last(shape: Shape) -> Shape:
    return (*shape[1:], shape[0])


class Channels:
    """The nodes of a graph, and where each tensor is to be found, in either order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._nodes: dict[str, Node] = {}
        self._first: dict[str, str] = {}  # by the tensor's name, the node that has it
        self._last: dict[str, str] = {}

    def add(self, node: Node, is_turned: bool) -> None:
        """Adds what writes a tensor of the node's name; ``is_turned`` nodes read and write turned
        images."""
        if is_turned:
            found = replace(node, inputs=tuple(self._turned(name) for name in node.inputs))
            axes = len(self._nodes[found.inputs[0]].shape)
            self._put(found, (self._last if len(node.shape) == axes else self._first))
        elif self._goes_turned(node):
            inputs = tuple(self._last[name] for name in node.inputs)
            operation, shape = node.operation, _last(node.shape)
            if isinstance(operation, Concatenate):  # of axes the first one becomes the last
                axis = operation.axis - 1
                operation = Concatenate(axis if axis >= -len(shape) else -1)
            self._put(replace(node, inputs=inputs, operation=operation, shape=shape), self._last)
        else:
            self._put(replace(node, inputs=tuple(map(self.as_given, node.inputs))), self._first)

    def as_given(self, name: str) -> str:
        """The node that has a tensor in its model's own order."""
        if name not in self._first:
            source = self._nodes[self._last[name]]
            view = whole(source.shape).permuted(_FIRST[len(source.shape)])
            node = Node(
                f"{name}/first", Move((view.copy(),)), (source.name,), view.sizes, "Permute"
            )
            self._put(node, self._first, name)
        return self._first[name]

    def _turned(self, name: str) -> str:
        if name not in self._last:
            source = self._nodes[self._first[name]]
            view = whole(source.shape).permuted(_LAST[len(source.shape)])
            node = Node(f"{name}/last", Move((view.copy(),)), (source.name,), view.sizes, "Permute")
            self._put(node, self._last, name)
        return self._last[name]

    def _put(self, node: Node, place: dict[str, str], name: str | None = None) -> None:
        self.nodes.append(node)
        self._nodes[node.name] = node
        place[node.name if name is None else name] = node.name

    def _goes_turned(self, node: Node) -> bool:
        """Whether a node computes the same from images that are there turned alone."""
        if not node.inputs or any(name not in self._last for name in node.inputs):
            return False
        if all(name in self._first for name in node.inputs) or len(node.shape) not in (2, 3):
            return False
        sizes = {self._nodes[self._last[name]].shape for name in node.inputs}
        match node.operation:
            case Activate(activation):
                return activation.name not in OF_ALL
            case Dropout() | Noise():
                return not node.operation.shared
            case Merge():
                return sizes == {_last(node.shape)}
            case Concatenate():
                return True
        return isinstance(node.operation, Rescale | Penalize)


_LAST = {2: (1, 0), 3: (1, 2, 0)}
_FIRST = {2: (1, 0), 3: (2, 0, 1)}
