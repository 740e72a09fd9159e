"""The ordered list of passes from a graph to a Network, with a check of what each one leaves.

    expand            one stage a node; Flatten becomes another view of the same buffer
    fuse_activation   convolution -> activation          =>  convolution with an activation
    split_activation  activations that no kernel fuses   =>  a stage of their own
    fuse_pooling      convolution -> max pooling         =>  convolution that keeps a byte a window
    place_halos       padding of a reader                =>  a border of zeros around its input
    differentiate     trained weights                    =>  which gradients each stage computes
    choose            sizes, gradients, the processor    =>  algorithm and tiles of each stage
    place_parameters  parameters                         =>  matrices and their copies

What follows, launches, phases and memory, is in ``launches.py``, ``cut.py`` and ``lifetimes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from convmill.lower import spec
from convmill.lower.choose import IMAGES_PER_GROUP, choose
from convmill.lower.differentiate import differentiate
from convmill.lower.expand import expand
from convmill.lower.fuse import fuse_activation, fuse_pooling, split_activation
from convmill.lower.machine import Machine
from convmill.lower.place import place_halos, place_parameters
from convmill.lower.stages import Gradients, Network, Stage
from convmill.plan.covered import check_covered
from convmill.plan.graph import Graph
from convmill.plan.recipe import Recipe


@dataclass(frozen=True)
class Lowered:
    """The stages of any graph, compiled or not, with their choices, and what they compute gradients
    of."""

    stages: tuple[Stage, ...]
    gradients: tuple[Gradients, ...]


def lower_stages(graph: Graph, machine: Machine) -> Lowered:
    """The stages of any graph; what cannot be compiled is a plain stage like others."""
    stages, written = expand(graph)
    handed_out = {written[name].buffer for name in graph.outputs}
    spec.check_stages(stages)
    stages = fuse_activation(stages, handed_out)
    spec.check_stages(stages)
    stages = split_activation(stages)
    spec.check_stages(stages)
    stages = fuse_pooling(stages, handed_out)
    spec.check_stages(stages)
    stages = place_halos(stages)
    spec.check_stages(stages)
    wanted = differentiate(stages, graph.parameters)
    stages = choose(stages, wanted, machine)
    spec.check_choices(stages, wanted, machine)
    return Lowered(tuple(stages), tuple(wanted))


def lower(graph: Graph, recipe: Recipe | None, machine: Machine) -> Network:
    """The Network of a graph that is compiled; ``recipe`` None is for prediction alone.

    Raises NotCovered where it is not.
    """
    check_covered(graph)
    lowered = lower_stages(graph, machine)
    stages, wanted = lowered.stages, lowered.gradients
    matrices, elements, packed = place_parameters(graph.parameters, stages, machine.lanes)
    return Network(
        input=stages[0].input,
        output=stages[-1].output,
        stages=stages,
        gradients=wanted,
        matrices=matrices,
        recipe=recipe,
        parameter_elements=elements,
        pack_elements=packed,
        images_per_group=IMAGES_PER_GROUP,
    )
