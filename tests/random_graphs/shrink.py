"""Makes a net smaller while something about it stays true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.random_graphs.net import Net, Node, pruned

NEEDED = (  # arguments without defaults, or that say much
    *("kernel_size", "filters", "units", "target_shape", "dims", "n", "output_size", "rate"),
    *("scale", "height", "width", "axis", "activation", "groups"),
)


def shrunk(net: Net, holds: Callable[[Net], bool], seconds: float = 600.0) -> Net:
    """The smallest net that was found in that time for which ``holds`` still says True."""
    end = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(net):
            if time.monotonic() > end:
                return net
            if holds(candidate):
                net, smaller = candidate, True
                break
    return net


def _smaller(net: Net) -> Iterator[Net]:
    """Nets with something less, those with much less first."""
    for index in range(len(net.outputs) if len(net.outputs) > 1 else 0):
        yield pruned(_without_output(net, index))
    count = len(net.inputs)
    for place in reversed(range(count, count + len(net.nodes))):
        node = net.node(place)
        for read in dict.fromkeys(node.inputs if node else ()):
            yield pruned(_bypassed(net, place, read))
    for place in range(count, count + len(net.nodes)):
        yield from (_with_node(net, place, simpler) for simpler in _simpler(net.node(place)))
    if len(net.batches) > 1:
        yield replace(net, batches=net.batches[:1])
    if net.batches[0] > 2:
        yield replace(net, batches=tuple(2 for _ in net.batches))
    if net.weighted:
        yield replace(net, weighted=False)
    if net.optimizer != "SGD" or len(net.options) > 1:
        yield replace(net, optimizer="SGD", options={"learning_rate": 0.05})


def _without_output(net: Net, index: int) -> Net:
    kept = [one for one in range(len(net.outputs)) if one != index]
    return replace(
        net,
        outputs=tuple(net.outputs[one] for one in kept),
        losses=tuple(net.losses[one] for one in kept),
        loss_weights=tuple(net.loss_weights[one] for one in kept),
    )


def _bypassed(net: Net, place: int, read: int) -> Net:
    """Whoever reads ``place`` reads ``read``."""

    def instead(one: int) -> int:
        return read if one == place else one

    nodes = [replace(node, inputs=tuple(map(instead, node.inputs))) for node in net.nodes]
    return replace(net, nodes=tuple(nodes), outputs=tuple(map(instead, net.outputs)))


def _with_node(net: Net, place: int, node: Node) -> Net:
    nodes = list(net.nodes)
    nodes[place - len(net.inputs)] = node
    return replace(net, nodes=tuple(nodes))


def _simpler(node: Node | None) -> Iterator[Node]:
    """The node with an argument less, or one input less, or trained."""
    if node is None:
        return
    if node.frozen:
        yield replace(node, frozen=False)
    if len(node.inputs) > 2:
        yield replace(node, inputs=node.inputs[:2])
    for name, value in node.arguments.items():
        others = {key: one for key, one in node.arguments.items() if key != name}
        if name not in NEEDED:
            yield replace(node, arguments=others)
        elif name == "activation" and value != "linear":
            yield replace(node, arguments={**others, name: "linear"})
        elif name == "groups" and node.layer.startswith("Conv"):
            yield replace(node, arguments=others)
