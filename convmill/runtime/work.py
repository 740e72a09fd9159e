"""How much work a run is: how many threads that is worth, and whether anybody need look at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.lower.choose import IMAGES_PER_GROUP
from convmill.plan.facts import node_multiply_adds
from convmill.plan.graph import Graph

# Operations that one thread does in a few hundredths of a second.
SHORT = 500_000_000
# Operations that take about as long as waking a thread.
WORTH_A_THREAD = 2_000_000


@dataclass(frozen=True)
class Run:
    """On how many threads to run; ``short`` means that nobody need look whether it goes on."""

    threads: int
    short: bool


def inference_run(graph: Graph, images: int, threads: int) -> Run:
    """A pass over that many images; one group of images is one thread's."""
    groups = -(-images // IMAGES_PER_GROUP)
    return _run(_pass(graph) * images, min(threads, groups))


def training_run(graph: Graph, images: int, steps: int, threads: int) -> Run:
    """Steps of training over that many images: three passes, and each step updates parameters."""
    update = sum(math.prod(parameter.shape) for parameter in graph.parameters)
    return _run(3 * _pass(graph) * images + update * steps, threads)


def _run(operations: int, threads: int) -> Run:
    return Run(min(threads, 1 + operations // WORTH_A_THREAD), operations < SHORT)


def _pass(graph: Graph) -> int:
    """Operations of one image forward; each value that is written counts as one."""
    return sum(node_multiply_adds(graph, node) + math.prod(node.shape) for node in graph.nodes)
