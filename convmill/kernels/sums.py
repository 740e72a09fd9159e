"""The gradient of a tensor that several stages read: the sum of what each of them left."""

from __future__ import annotations

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import Index
from convmill.lower.launches import Images, Launch, Slot, gradient
from convmill.lower.network import Network
from convmill.lower.stages import Stage
from convmill.lower.tensors import Tensor


def uses(network: Network) -> dict[int, list[Slot]]:
    """By buffer, the gradients that are summed, in the order of their uses."""
    found: dict[int, list[tuple[int, Slot]]] = {}
    read = [tensor for stage in network.stages for tensor in stage.inputs]
    for tensor in (*read, *network.outputs):
        if tensor.use:
            found.setdefault(tensor.buffer, []).append((tensor.use, gradient(tensor)))
    return {buffer: [slot for _, slot in sorted(each)] for buffer, each in found.items()}


def add_up(stage: Stage, of: str, parts: list[Slot]) -> Launch:
    """The sum of all parts, behind the last of them."""
    return Launch("sums.add", of, Images(), tuple(parts), (gradient(stage.output),))


def write_add(k: Kernel) -> None:
    """gradient = sum of the readers' gradients, a vector at a time."""
    tensor: Tensor = k.build.network.stages[k.launch.number].output
    parts = [k.pointer(slot) for slot in k.launch.reads]
    (written,) = (k.pointer(slot) for slot in k.launch.writes)

    def one_vector(at: Index, _: Index, __: Index, count: int) -> None:
        total = k.load(parts[0], at, count)
        for part in parts[1:]:
            total = k.builder.fadd(total, k.load(part, at, count))
        k.store(total, written, at, count)

    rows(k, tensor, tensor, one_vector)


KERNELS = {"sums.add": write_add}
