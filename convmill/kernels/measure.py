"""What is measured of each image: its loss, whether it counts as right, and in training the
gradient that the backward pass begins with."""

from __future__ import annotations

from convmill.kernels import losses
from convmill.kernels.accuracy import right
from convmill.kernels.build import Kernel
from convmill.kernels.lang import I32, I64
from convmill.kernels.losses import Case
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
from convmill.lower.stages import Network, PlainStage
from convmill.plan.graph import Activate


def through_softmax(network: Network) -> bool:
    """Whether the loss hands its gradient to the input of the last softmax, past its backward."""
    last, recipe = network.stages[-1], network.recipe
    return (
        recipe is not None
        and recipe.loss.name in ("categorical_crossentropy", "sparse_categorical_crossentropy")
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
        scratch=losses.scratch(network.recipe.loss, network.output.values),
        wanted=None if training else "labels",
    )


def write_measure(k: Kernel) -> None:
    """loss = weight x loss of the image; gradient = its derivative x weight x the batch's factor,
    by the outputs, or by the logits past a last softmax."""
    network, b = k.build.network, k.builder
    recipe = network.recipe
    assert recipe is not None
    position, classes = k.told("position"), network.output.values
    number = k.load_scalar(k.pointer(ORDER), position, I64)
    labels = k.pointer(LABELS)
    if recipe.loss.sparse:
        label = k.at(labels, number, I32)
    else:
        label = k.at(labels, k.mul(number, classes))
    weight = k.load_scalar(k.pointer(SAMPLE_WEIGHTS), number)
    case = Case(
        k,
        recipe.loss,
        classes,
        k.pointer(value(network.output)),
        label,
        k.broadcast(b.fmul(weight, k.told("scale"))),
        k.pointer(k.launch.writes[2]) if len(k.launch.writes) > 2 else None,
        through_softmax(network),
        k.told("scratch"),
    )
    loss = losses.LOSSES[recipe.loss.name](case)
    k.store_scalar(b.fmul(loss, weight), k.pointer(LOSSES), position)
    if recipe.accuracy is not None:
        k.store_scalar(right(case, recipe.accuracy), k.pointer(CORRECT), position)


KERNELS = {"measure.loss": write_measure}
