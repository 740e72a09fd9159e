"""Images in and predictions out: from the caller's array into the net's first tensor, and from its
last one into the caller's."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.build import Kernel
from convmill.kernels.context import field
from convmill.kernels.lang import F32, F64, I8, I64, Index
from convmill.lower.launches import IMAGES, ORDER, OUTPUTS, Images, Launch, value
from convmill.lower.stages import Network

ELEMENTS = (I8, F32, F64)  # in the order of convmill.lower.fields.IMAGE_TYPES


def gather(network: Network) -> Launch:
    """Reads an image."""
    return Launch("images.gather", "net", Images(), (IMAGES, ORDER), (value(network.input),))


def scatter(network: Network) -> Launch:
    """Hands a prediction out, where predictions are wanted."""
    read, written = (value(network.output),), (OUTPUTS,)
    return Launch("images.scatter", "net", Images(), read, written, wanted="outputs")


def write_gather(k: Kernel) -> None:
    """Values of uint8, float32 or float64, row by row, as float32 inside the halo."""
    number = k.load_scalar(k.pointer(ORDER), k.told("position"), I64)
    away = k.mul(number, field(k, k.told("context"), "image_stride"))
    image, kind = k.at(k.pointer(IMAGES), away, I8), field(k, k.told("context"), "image_type")
    for which, element in enumerate(ELEMENTS):
        with k.when(k.builder.icmp_signed("==", kind, ir.Constant(I64, which))):
            _convert(k, image, element)


def _convert(k: Kernel, image: ir.Value, element: ir.Type) -> None:
    """Copy an image of one type, row by row."""
    tensor = k.build.network.input
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
    tensor = k.build.network.output
    y = k.pointer(value(tensor))
    result = k.at(k.pointer(OUTPUTS), k.mul(k.told("position"), tensor.values))
    length = tensor.width * tensor.channels
    with k.loop(0, tensor.height) as row:
        source = k.at(y, k.add(tensor.origin, k.mul(row, tensor.row)))
        target = k.at(result, k.mul(row, length))

        def one(at: Index, count: int) -> None:
            k.store(k.load(source, at, count), target, at, count)

        k.vectors(length, one)


KERNELS = {"images.gather": write_gather, "images.scatter": write_scatter}
