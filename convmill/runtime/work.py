"""How much work a run is: how many threads that is worth, and whether anybody need look at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convmill.lower.choose import IMAGES_PER_GROUP
from convmill.plan.facts import node_multiply_adds
from convmill.plan.graph.nodes import Graph

# Operations that one thread does in a few hundredths of a second.
SHORT = 500_000_000
# Operations that take about as long as waking a thread.
WORTH_A_THREAD = 2_000_000
# Operations on no more images than one group takes, in a step of training or in a call, that are
# worth a second thread: short calls are prepared for one, and each image is one thread's.
WORTH_SHARING = 16_000_000


@dataclass(frozen=True)
class Run:
    """On how many threads to run; ``short`` means that nobody need look whether it goes on."""

    threads: int
    short: bool


@dataclass(frozen=True)
class Work:
    """What a graph takes: operations of one image's pass forward, each value that is written
    counting as one, and numbers that each step of training updates."""

    of_image: int
    of_update: int

    def inference_run(self, images: int, threads: int) -> Run:
        """A pass over that many images."""
        operations = self.of_image * images
        if images <= IMAGES_PER_GROUP and operations < WORTH_SHARING:
            threads = 1
        return _run(operations, min(threads, images))

    def training_run(self, images: int, steps: int, threads: int) -> Run:
        """Steps of training over that many images: three passes each, and an update."""
        operations = 3 * self.of_image * images + self.of_update * steps
        if images <= IMAGES_PER_GROUP * steps and operations < WORTH_SHARING * steps:
            threads = 1
        return _run(operations, threads)


def work_of(graph: Graph) -> Work:
    """Counts a graph's operations, which takes a look at every node."""
    of_image = sum(node_multiply_adds(graph, node) + math.prod(node.shape) for node in graph.nodes)
    return Work(of_image, sum(math.prod(parameter.shape) for parameter in graph.parameters))


def _run(operations: int, threads: int) -> Run:
    return Run(min(threads, 1 + operations // WORTH_A_THREAD), operations < SHORT)
