"""Losses that Keras computes: predictions of a batch go out, their gradient comes back.

    hand over (images) | call (one thread; Keras' loss and gradient) | take (images), backward

Barriers stand between them by themselves, as one reads what the other wrote. The function that is
called gets (step, output, images); it fills in gradients and the batch's loss.
"""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.context import usual_mode
from convmill.kernels.elementwise import rows
from convmill.kernels.images import entry
from convmill.kernels.lang import F32, I64, VOID, Index
from convmill.lower.launches import (
    BRIDGE,
    HANDED_OVER,
    LOSSES,
    RETURNED,
    Images,
    Launch,
    Shares,
    gradient,
    value,
)
from convmill.lower.network import Network
from convmill.lower.tensors import Tensor


def bridge(network: Network, outputs: tuple[int, ...]) -> list[Launch]:
    """The launches for those ``outputs``, in training."""
    recipe = network.recipe
    assert recipe is not None
    over, call, take = list[Launch](), list[Launch](), list[Launch]()
    for output in outputs:
        of, tensor = f"output{output}", network.outputs[output]
        over.append(Launch("bridge.over", of, Images(), (value(tensor),), (HANDED_OVER,)))
        read, written = (BRIDGE, HANDED_OVER), (RETURNED, LOSSES)
        call.append(Launch("bridge.call", of, Shares(1), read, written))
        if network.is_derived(tensor):
            take.append(Launch("bridge.take", of, Images(), (RETURNED,), (gradient(tensor),)))
    return over + call + take


def _whole(tensor: Tensor) -> Tensor:
    """The tensor without a border, as the batch's arrays hold it."""
    return tensor.padded((0, 0, 0, 0))


def write_over(k: Kernel) -> None:
    """Values of an image to its place in the batch's predictions."""
    tensor = k.build.network.outputs[k.launch.number]
    goal = k.at(entry(k, HANDED_OVER, 2 * k.launch.number), k.mul(k.told("place"), tensor.values))

    def copy(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(k.load(k.pointer(value(tensor)), a, count), goal, b, count)

    rows(k, tensor, _whole(tensor), copy)


def write_call(k: Kernel) -> None:
    """The call, in the processor's usual mode."""
    kind = ir.Signature(VOID, (I64, I64, I64))
    function = ir.Callee(kind, k.pointer(BRIDGE).text)
    with usual_mode(k, k.build.machine):
        k.call(function, k.told("step"), k.launch.number, k.told("images"))


def write_take(k: Kernel) -> None:
    """The gradient of an image from its place in the batch's, times what the output weighs."""
    output = k.launch.number
    recipe, tensor = k.build.network.recipe, k.build.network.outputs[output]
    assert recipe is not None
    goal = recipe.goals[output]
    assert goal is not None
    weight = k.constant(goal.weight)
    source = k.at(entry(k, RETURNED, 2 * output), k.mul(k.told("place"), tensor.values), F32)

    def copy(a: Index, b: Index, _: Index, count: int) -> None:
        slope = k.builder.fmul(k.load(source, a, count), weight)
        k.store(slope, k.pointer(gradient(tensor)), b, count)

    rows(k, _whole(tensor), tensor, copy)


KERNELS = {"bridge.over": write_over, "bridge.call": write_call, "bridge.take": write_take}
