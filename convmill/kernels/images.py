"""Images in and predictions out: from the caller's arrays into the net's first tensors, and from
its last ones into the caller's."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, F64, I8, I64, POINTER, Index
from convmill.lower.fields import IMAGE_ENTRY
from convmill.lower.launches import IMAGES, ORDER, OUTPUTS, Images, Launch, Slot, value
from convmill.lower.network import Network

ELEMENTS = (I8, F32, F64)  # in the order of convmill.lower.fields.IMAGE_TYPES


def gather(network: Network) -> list[Launch]:
    """Reads an image into each input."""
    return [
        Launch("images.gather", f"input{number}", Images(), (IMAGES, ORDER), (value(tensor),))
        for number, tensor in enumerate(network.inputs)
    ]


def scatter(network: Network) -> list[Launch]:
    """Hands predictions out, where predictions are wanted."""
    return [
        Launch(
            *("images.scatter", f"output{number}", Images()),
            *((value(tensor),), (OUTPUTS,)),
            wanted="outputs",
        )
        for number, tensor in enumerate(network.outputs)
    ]


def entry(k: Kernel, table: Slot, at: int) -> ir.Value:
    """The address that stands at a place of a table."""
    return k.builder.load(k.at(k.pointer(table), at, I64), typ=POINTER)


def write_gather(k: Kernel) -> None:
    """Values of uint8, float32 or float64, row by row, as float32 inside the halo."""
    first = k.launch.number * len(IMAGE_ENTRY)
    number = k.load_scalar(k.pointer(ORDER), k.told("position"), I64)
    stride, kind = (k.load_scalar(k.pointer(IMAGES), first + at, I64) for at in (1, 2))
    image = k.at(entry(k, IMAGES, first), k.mul(number, stride), I8)
    for which, element in enumerate(ELEMENTS):
        with k.when(k.equal(kind, which)):
            _convert(k, image, element)


def _convert(k: Kernel, image: ir.Value, element: ir.Type) -> None:
    """Copy an image of one type, row by row."""
    tensor = k.build.network.inputs[k.launch.number]
    length, x = tensor.width * tensor.channels, k.pointer(value(tensor))
    with k.loop(0, tensor.height) as row:
        source = k.at(image, k.mul(row, length), element)
        target = k.at(x, k.add(tensor.origin, k.mul(row, tensor.row)))

        def one(at: Index, count: int) -> None:
            pixels = k.load(source, at, count, element)
            if element == I8:
                pixels = k.builder.uitofp(pixels, k.vector)
            elif element == F64:
                pixels = k.builder.fptrunc(pixels, k.vector)
            k.store(pixels, target, at, count)

        k.vectors(length, one)


def write_scatter(k: Kernel) -> None:
    """The net's output without its halo."""
    tensor = k.build.network.outputs[k.launch.number]
    y = k.pointer(value(tensor))
    result = k.at(entry(k, OUTPUTS, 2 * k.launch.number), k.mul(k.told("position"), tensor.values))
    length = tensor.width * tensor.channels
    with k.loop(0, tensor.height) as row:
        source = k.at(y, k.add(tensor.origin, k.mul(row, tensor.row)))
        target = k.at(result, k.mul(row, length))

        def one(at: Index, count: int) -> None:
            k.store(k.load(source, at, count), target, at, count)

        k.vectors(length, one)


KERNELS = {"images.gather": write_gather, "images.scatter": write_scatter}
