"""A net as data: what a random graph is drawn as, shrunk as, and told as; and its Keras model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import layers

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One call of a layer. What it reads is counted from the net's inputs on, then its nodes;
    ``shares`` counts likewise, and names the node whose layer is called once more."""

    layer: str
    arguments: Mapping[str, Any]
    inputs: tuple[int, ...]
    shares: int | None = None
    frozen: bool = False


@dataclass(frozen=True)
class Net:
    """A graph with what it is trained on: a loss, its weight, and a node for each output."""

    seed: int
    inputs: tuple[Shape, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    losses: tuple[str, ...]
    loss_weights: tuple[float, ...]
    optimizer: str
    options: Mapping[str, float] = field(default_factory=dict)
    batches: tuple[int, ...] = (6, 6, 6)  # images of each step
    weighted: bool = False  # whether images have weights

    def node(self, place: int) -> Node | None:
        """What stands at a place; None for an input."""
        return self.nodes[place - len(self.inputs)] if place >= len(self.inputs) else None


def call(node: Node, read: Sequence[Any], made: dict[int, Any], place: int) -> Any:
    """What a node's layer makes of what it reads; ``made`` holds the layers by place."""
    layer = made.get(node.shares) if node.shares is not None else None
    if layer is None:
        layer = getattr(layers, node.layer)(**node.arguments)
        for name in [one for one in vars(layer) if one.endswith("_initializer")]:
            setattr(layer, name, _zeros)  # JAX compiles what draws numbers for each shape
        layer.trainable = not node.frozen
    made[place] = layer
    return layer(read[0] if len(read) == 1 else list(read))


def _zeros(shape: Shape, dtype: Any = None) -> np.ndarray:
    return np.zeros(shape, dtype)


def build(net: Net) -> keras.Model:
    """The Keras model, compiled. Raises what Keras raises where the graph makes no sense."""
    tensors: list[Any] = [keras.Input(shape) for shape in net.inputs]
    made: dict[int, Any] = {}
    for place, node in enumerate(net.nodes, len(tensors)):
        tensors.append(call(node, [tensors[one] for one in node.inputs], made, place))
    model = keras.Model(tensors[: len(net.inputs)], [tensors[one] for one in net.outputs])
    optimizer = keras.optimizers.get({"class_name": net.optimizer, "config": dict(net.options)})
    weights = list(net.loss_weights) if len(net.outputs) > 1 else None
    model.compile(optimizer, list(net.losses), loss_weights=weights)
    return model


def start(model: keras.Model, seed: int) -> list[np.ndarray]:
    """Weights to begin with, float32: biases and statistics are not zero, and keep their sign."""
    rng = np.random.default_rng(seed)
    found = []
    for variable in model.weights:
        value = rng.standard_normal(variable.shape)
        name = variable.name
        if name in ("moving_variance", "gamma", "scale"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        elif "kernel" in name:
            value *= (max(value.size, 1) / value.shape[-1]) ** -0.5
        else:
            value *= 0.2
        found.append(value.astype("float32"))
    return found


def pruned(net: Net) -> Net:
    """Without what no output depends on."""
    wanted: set[int] = set()
    waiting = list(net.outputs)
    while waiting:
        place = waiting.pop()
        if place not in wanted:
            wanted.add(place)
            node = net.node(place)
            waiting += [] if node is None else node.inputs
    kept = sorted(wanted)
    inputs = [one for one in kept if one < len(net.inputs)]
    places = {old: new for new, old in enumerate(kept)}
    first: dict[int, int] = {}  # of nodes that share a layer, the first that stays
    nodes = []
    for old in kept[len(inputs) :]:
        node = net.node(old)
        assert node is not None
        root = old if node.shares is None else node.shares
        shares = places[first[root]] if root in first else None
        first.setdefault(root, old)
        nodes.append(replace(node, inputs=tuple(places[one] for one in node.inputs), shares=shares))
    return replace(
        net,
        inputs=tuple(net.inputs[one] for one in inputs),
        nodes=tuple(nodes),
        outputs=tuple(places[one] for one in net.outputs),
    )


def source(net: Net) -> str:
    """The net as Python, as a test would write it down."""
    head = f"Net(\n    seed={net.seed},\n    inputs={net.inputs},\n    nodes=(\n"
    lines = []
    for node in net.nodes:
        more = f", shares={node.shares}" if node.shares is not None else ""
        more += ", frozen=True" if node.frozen else ""
        arguments = dict(node.arguments)
        lines.append(f"        Node({node.layer!r}, {arguments!r}, {node.inputs}{more}),\n")
    rest = "".join(
        f"    {name}={getattr(net, name)!r},\n"
        for name in (
            "outputs",
            "losses",
            "loss_weights",
            "optimizer",
            "options",
            "batches",
            "weighted",
        )
    )
    return head + "".join(lines) + "    ),\n" + rest + ")"
