"""The ordered list of passes from a graph to a Network, with a check of what each one leaves.

    expand              one stage a node; Flatten becomes another view of the same buffer
    fuse_activation     convolution -> activation         =>  convolution with an activation
    fold_normalization  inference: conv -> normalization  =>  convolution, scaled and shifted
    split_activation    activations that no kernel fuses  =>  a stage of their own
    fuse_pooling        convolution -> max pooling        =>  convolution, a byte a window
    place_halos         padding of a reader               =>  zeros around what it reads
    differentiate       trained weights, losses           =>  gradients of each stage
    number_uses         readers of one buffer             =>  a gradient each, and their sum
    choose              sizes, gradients, processor       =>  algorithm and tiles of each stage
    place_statistics    batch normalization               =>  rows for what a channel has
    place_parameters    parameters                        =>  matrices and their copies

What follows, launches, phases and memory, is in ``launches.py``, ``cut.py`` and ``lifetimes.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convmill.lower import spec
from convmill.lower.choose import IMAGES_PER_GROUP, choose
from convmill.lower.differentiate import differentiate, number_uses
from convmill.lower.expand import expand
from convmill.lower.fuse import (
    fold_normalization,
    fuse_activation,
    fuse_pooling,
    split_activation,
)
from convmill.lower.machine import Machine
from convmill.lower.network import Gradients, Network
from convmill.lower.place import place_halos, place_parameters, place_statistics
from convmill.lower.stages import Stage
from convmill.lower.tensors import Tensor
from convmill.plan.covered import check_covered
from convmill.plan.graph.nodes import Graph
from convmill.plan.recipe import Recipe

# Gives every stage its choice: the stages, what is wanted of each, and the machine.
Chooser = Callable[[Sequence[Stage], Sequence[Gradients], Machine], list[Stage]]


@dataclass(frozen=True)
class Lowered:
    """The stages of any graph, compiled or not, with their choices, and what they compute gradients
    of; the tensors that images are read into, and those that are handed out."""

    stages: tuple[Stage, ...]
    gradients: tuple[Gradients, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def lower_stages(
    graph: Graph,
    machine: Machine,
    measured: Sequence[int] | None = None,
    *,
    training: bool = True,
    chooser: Chooser = choose,
) -> Lowered:
    """The stages of any graph, for ``training`` or for inference; what cannot be compiled is a
    plain stage like others. ``measured`` numbers the outputs that losses look at, by default all;
    the ``chooser`` decides how each stage is computed.
    """
    expanded = expand(graph)
    stages, inputs, outputs = expanded.stages, expanded.inputs, expanded.outputs
    handed_out = {tensor.buffer for tensor in outputs}
    spec.check_stages(stages)
    stages = fuse_activation(stages, handed_out)
    spec.check_stages(stages)
    if not training:
        stages = fold_normalization(stages, handed_out)
        spec.check_stages(stages)
    stages = split_activation(stages)
    spec.check_stages(stages)
    stages = fuse_pooling(stages, handed_out)
    spec.check_stages(stages)
    stages, ends = place_halos(stages, (*inputs, *outputs))
    spec.check_stages(stages)
    inputs, outputs = ends[: len(inputs)], ends[len(inputs) :]
    numbers = range(len(outputs)) if measured is None else measured
    looked_at = [outputs[number] for number in numbers]
    wanted = differentiate(stages, graph.parameters, {tensor.buffer for tensor in looked_at})
    stages, used = number_uses(stages, wanted, looked_at)
    by_number = dict(zip(numbers, used, strict=True))
    outputs = tuple(by_number.get(number, one) for number, one in enumerate(outputs))
    stages = chooser(stages, wanted, machine)
    spec.check_choices(stages, wanted, machine)
    return Lowered(tuple(stages), tuple(wanted), inputs, outputs)


def lower(
    graph: Graph,
    recipe: Recipe | None,
    machine: Machine,
    *,
    training: bool = True,
    chooser: Chooser = choose,
) -> Network:
    """The Network of a graph that is compiled, for ``training`` or for inference alone; ``recipe``
    None is for prediction. The ``chooser`` decides how each stage is computed.

    Raises NotCovered where it is not.
    """
    check_covered(graph)
    graph = graph if training else graph.outside_training()
    asked = None if recipe is None else recipe.asked
    lowered = lower_stages(graph, machine, asked, training=training, chooser=chooser)
    stages, statistics = place_statistics(lowered.stages)
    matrices, elements, packed = place_parameters(graph.parameters, stages, machine.lanes)
    return Network(
        inputs=lowered.inputs,
        outputs=lowered.outputs,
        stages=tuple(stages),
        gradients=lowered.gradients,
        matrices=matrices,
        recipe=recipe,
        parameter_elements=elements,
        pack_elements=packed,
        statistic_elements=statistics,
        images_per_group=IMAGES_PER_GROUP,
    )
