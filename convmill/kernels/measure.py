"""What is measured of each image: its loss, whether it counts as right, and in training the
gradient that the backward pass begins with."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels import losses, places
from convmill.kernels.build import Kernel
from convmill.kernels.context import field
from convmill.kernels.lang import F32, I32, I64
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
from convmill.lower.stages import Network, PlainStage, Tensor
from convmill.plan.graph import Activate
from convmill.plan.recipe import Loss


def through_softmax(network: Network) -> bool:
    """Whether the loss hands its gradient to the input of the last softmax, past its backward."""
    last, recipe = network.stages[-1], network.recipe
    return (
        recipe is not None
        and recipe.loss.name in losses.OF_SHARES
        and not recipe.loss.from_logits
        and isinstance(last, PlainStage)
        and isinstance(last.operation, Activate)
        and last.operation.activation.name == "softmax"
    )


def measure(network: Network, training: bool) -> Launch:
    """Loss of each image and whether it counts as right; in training the gradient as well."""
    assert network.recipe is not None
    read = (value(network.output), ORDER, LABELS, SAMPLE_WEIGHTS)
    derived: tuple[Slot, ...] = ()
    if training and any(wanted.output for wanted in network.gradients):
        last = network.stages[-1].input if through_softmax(network) else network.output
        derived = (gradient(last),)
    return Launch(
        "measure.loss",
        "net",
        Images(),
        read,
        (LOSSES, CORRECT, *derived),
        scratch=losses.scratch(network.recipe.loss, network.output.channels),
        wanted=None if training else "labels",
    )


def write_measure(k: Kernel) -> None:
    """loss = sum over places of weight x loss; gradient = its derivative x the batch's factor, by
    the outputs, or by the logits past a last softmax."""
    network = k.build.network
    recipe = network.recipe
    assert recipe is not None
    position, output = k.told("position"), network.output
    number = k.load_scalar(k.pointer(ORDER), position, I64)
    stride = field(k, k.told("context"), "weight_stride")
    image = Image(
        k,
        recipe.loss,
        output,
        k.pointer(value(output)),
        _labels(k, number, recipe.loss, output),
        k.at(k.pointer(SAMPLE_WEIGHTS), k.mul(number, stride)),
        k.builder.icmp_signed(">", stride, ir.Constant(I64, 1)),
        _scale(k, recipe.loss, output),
        _derived(k, network),
        k.told("scratch"),
    )
    k.store_scalar(places.loss(image), k.pointer(LOSSES), position)
    if recipe.accuracy is not None:
        right = places.accuracy(image, recipe.accuracy)
        k.store_scalar(right, k.pointer(CORRECT), position)


def _labels(k: Kernel, number: ir.Value, loss: Loss, output: Tensor) -> ir.Value:
    """Address of an image's labels."""
    if loss.sparse:
        return k.at(k.pointer(LABELS), k.mul(number, output.places), I32)
    return k.at(k.pointer(LABELS), k.mul(number, output.values))


def _scale(k: Kernel, loss: Loss, output: Tensor) -> ir.Value:
    """What the gradient of one place's loss is scaled by, its weight aside."""
    scale = k.told("scale")
    if loss.reduction == "sum" or output.places == 1:
        return scale
    return k.builder.fdiv(scale, ir.Constant(F32, float(output.places)))


def _derived(k: Kernel, network: Network) -> Derived | None:
    """Where the gradient goes, if one is wanted."""
    if len(k.launch.writes) == 2:
        return None
    past = through_softmax(network)
    tensor = network.stages[-1].input if past else network.output
    return Derived(tensor, k.pointer(gradient(tensor)), past)


KERNELS = {"measure.loss": write_measure}
