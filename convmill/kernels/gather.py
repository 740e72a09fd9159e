"""Reading one image from the user's array into the net's first tensor."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.lang import F32, F64, I8, I64, POINTER, Emitter, Index
from convmill.lower.stages import Tensor

ELEMENTS = (I8, F32, F64)  # in the order of convmill.lower.buffers.IMAGE_TYPES


def gather(module: ir.Module, tensor: Tensor, lanes: int) -> ir.Function:
    """(image, type, x): values of uint8, float32 or float64, row by row, as float32 inside the
    halo."""
    e = Emitter(module, "gather", [POINTER, I64, POINTER], lanes)
    e.no_alias()
    kind = e.arguments[1]
    for number, element in enumerate(ELEMENTS):
        with e.when(e.builder.icmp_signed("==", kind, ir.Constant(I64, number))):
            _convert(e, tensor, element)
    return e.finish()


def _convert(e: Emitter, tensor: Tensor, element: ir.Type) -> None:
    """Copy an image of one type, row by row."""
    image, _, x = e.arguments
    length = tensor.width * tensor.channels
    with e.loop(0, tensor.height) as row:
        source = e.at(image, e.mul(row, length), element)
        target = e.at(x, e.add(tensor.origin, e.mul(row, tensor.row)))

        def one(at: Index, count: int) -> None:
            value = e.load(source, at, count, element)
            if element == I8:
                value = e.builder.uitofp(value, e.vector)
            elif element == F64:
                value = e.builder.fptrunc(value, e.vector)
            e.store(value, target, at, count)

        e.vectors(length, one)


def scatter(module: ir.Module, tensor: Tensor, lanes: int) -> ir.Function:
    """(y, result): the net's output without its halo."""
    e = Emitter(module, "scatter", [POINTER, POINTER], lanes)
    e.no_alias()
    y, result = e.arguments
    length = tensor.width * tensor.channels
    with e.loop(0, tensor.height) as row:
        source = e.at(y, e.add(tensor.origin, e.mul(row, tensor.row)))
        target = e.at(result, e.mul(row, length))
        e.vectors(length, lambda at, count: e.store(e.load(source, at, count), target, at, count))
    return e.finish()
