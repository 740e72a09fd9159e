"""What is measured of each image: its loss, whether it counts as right, and in training the
gradient that the backward pass begins with."""

from __future__ import annotations

from convmill.kernels import bridge, ir, losses, places
from convmill.kernels.build import Kernel
from convmill.kernels.context import field
from convmill.kernels.images import entry
from convmill.kernels.lang import F32, I8, I32, I64
from convmill.kernels.places import Derived, Image
from convmill.lower.launches import (
    CORRECT,
    LABELS,
    LOSSES,
    ORDER,
    SAMPLE_WEIGHTS,
    Images,
    Launch,
    Slot,
    gradient,
    value,
)
from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.network import Network
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import Activate
from convmill.plan.recipe import Goal, Loss


def through_softmax(network: Network, output: int) -> int | None:
    """The number of the softmax past whose backward the loss of an output hands its gradient, to
    the input; None where it does not."""
    recipe, tensor = network.recipe, network.outputs[output]
    goal = None if recipe is None else recipe.goals[output]
    if goal is None or goal.loss.from_logits or tensor.use:
        return None
    if goal.loss.name not in losses.OF_SHARES:
        return None
    for number, stage in enumerate(network.stages):
        if (
            stage.output == tensor
            and isinstance(stage, PlainStage)
            and isinstance(stage.operation, Activate)
            and stage.operation.activation.name == "softmax"
        ):
            return number
    return None


def measure(network: Network, training: bool) -> list[Launch]:
    """Loss of each image at each output that has one, and whether it counts as right; in training
    the gradient as well."""
    recipe = network.recipe
    assert recipe is not None
    here = [output for output in recipe.asked if output not in recipe.bridged]
    launches = [_measure(network, output, training) for output in here]
    return [*launches, *(bridge.bridge(network, recipe.bridged) if training else [])]


def _measure(network: Network, output: int, training: bool) -> Launch:
    tensor, softmax = network.outputs[output], through_softmax(network, output)
    derived: tuple[Slot, ...] = ()
    if training and network.is_derived(tensor):
        derived = (gradient(tensor if softmax is None else network.stages[softmax].inputs[0]),)
    return Launch(
        "measure.loss",
        f"output{output}",
        Images(),
        (value(tensor), ORDER, LABELS, SAMPLE_WEIGHTS),
        (LOSSES, CORRECT, *derived),
        scratch=losses.scratch(_goal(network, output).loss, tensor.channels),
        wanted=None if training else "labels",
    )


def _goal(network: Network, output: int) -> Goal:
    assert network.recipe is not None
    goal = network.recipe.goals[output]
    assert goal is not None
    return goal


def write_measure(k: Kernel) -> None:
    """loss = sum over places of weight x loss; gradient = its derivative x the batch's factor, by
    the outputs, or by the logits past a last softmax."""
    network, output = k.build.network, k.launch.number
    goal, tensor = _goal(network, output), network.outputs[output]
    position = k.told("position")
    number = k.load_scalar(k.pointer(ORDER), position, I64)
    stride = k.load_scalar(k.pointer(SAMPLE_WEIGHTS), 2 * output + 1, I64)  # in bytes
    image = Image(
        k,
        goal.loss,
        tensor,
        k.pointer(value(tensor)),
        _labels(k, number, goal.loss, output),
        k.at(entry(k, SAMPLE_WEIGHTS, 2 * output), k.mul(number, stride), I8),
        k.builder.icmp_signed(">", stride, ir.Constant(I64, FLOAT_BYTES)),
        _scale(k, goal, tensor),
        _derived(k, network, output),
        k.told("scratch"),
    )
    positions = field(k, k.told("context"), "positions")
    at = k.add(k.mul(output, positions), position)
    k.store_scalar(places.loss(image), k.pointer(LOSSES), at)
    if goal.accuracy is not None:
        k.store_scalar(places.accuracy(image, goal.accuracy), k.pointer(CORRECT), at)


def _labels(k: Kernel, number: ir.Value, loss: Loss, output: int) -> ir.Value:
    """Address of an image's labels."""
    tensor, labels = k.build.network.outputs[output], entry(k, LABELS, 2 * output)
    if loss.sparse:
        return k.at(labels, k.mul(number, tensor.places), I32)
    return k.at(labels, k.mul(number, tensor.values))


def _scale(k: Kernel, goal: Goal, output: Tensor) -> ir.Value:
    """What the gradient of one place's loss is scaled by, its weight aside."""
    factor = goal.weight
    if goal.loss.reduction == "sum":
        return ir.Constant(F32, factor)
    scale = k.told("scale")
    if output.places > 1:
        scale = k.builder.fdiv(scale, ir.Constant(F32, float(output.places)))
    return k.builder.fmul(scale, ir.Constant(F32, factor))


def _derived(k: Kernel, network: Network, output: int) -> Derived | None:
    """Where the gradient goes, if one is wanted."""
    if len(k.launch.writes) == 2:
        return None
    past = through_softmax(network, output)
    tensor = network.outputs[output] if past is None else network.stages[past].inputs[0]
    return Derived(tensor, k.pointer(gradient(tensor)), past is not None)


KERNELS = {"measure.loss": write_measure}
