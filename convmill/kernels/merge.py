"""Sums, products, means, maxima and minima of tensors, place by place, and an activation of them.

Tensors are rows x columns x channels inside their borders; one of size 1 along an axis stands for
all places along it, as NumPy has it. A chain of pairs, as in Keras: maximum(maximum(a, b), c).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.functions import activate, gate
from convmill.kernels.lang import Emitter, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.operations import Merge

# kind -> what one pair makes; the average is divided at the end
_PAIRS: dict[str, Callable[[Emitter, ir.Value, ir.Value], ir.Value]] = {
    "add": lambda e, x, y: e.builder.fadd(x, y),
    "average": lambda e, x, y: e.builder.fadd(x, y),
    "subtract": lambda e, x, y: e.builder.fsub(x, y),
    "multiply": lambda e, x, y: e.builder.fmul(x, y),
    "divide": lambda e, x, y: e.builder.fdiv(x, y),
    "maximum": lambda e, x, y: _extreme(e, ">", x, y),
    "minimum": lambda e, x, y: _extreme(e, "<", x, y),
}
_NEED_VALUES = ("multiply", "divide", "maximum", "minimum")  # for their gradients


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = activation(all inputs together)."""
    stage = site.stage
    read = tuple(dict.fromkeys(value(tensor) for tensor in stage.inputs))
    return [Launch("merge.forward", site.of, Images(), read, (value(stage.output),))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """The gradient of each input for which it is wanted."""
    stage, wanted = site.stage, site.gradients.inputs
    written = tuple(
        gradient(tensor)
        for tensor, is_wanted in zip(stage.inputs, wanted, strict=True)
        if is_wanted
    )
    needed = stage.inputs if _kind(stage) in _NEED_VALUES else ()
    needed += () if stage.activation.name == "linear" else (stage.output,)
    read = (gradient(stage.output), *dict.fromkeys(value(tensor) for tensor in needed))
    return [Launch("merge.backward", site.of, Images(), read, written)] if written else []


def _kind(stage: PlainStage) -> str:
    assert isinstance(stage.operation, Merge)
    return stage.operation.kind


def _extreme(e: Emitter, order: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger or smaller one; what is no number wins."""
    first = e.builder.fcmp_unordered(order, x, y)
    is_number = e.builder.fcmp_ordered("ord", y, y)
    return e.builder.select(e.builder.and_(first, is_number), x, y)


# Places ------------------------------------------------------------------------------------------

Place = tuple[Index, int, Index, Index]  # channel, count of them, row, column
Body = Callable[[Index, int, Index, Index], None]  # of a place


def _every(k: Kernel, stage: PlainStage, body: Body) -> None:
    """``body`` for every vector of the output: channels of a pixel, or of all pixels of a row where
    no input is spread out; then ``channel`` counts through the row and ``column`` is 0."""
    output = stage.output
    if all(_alike(tensor, output) for tensor in stage.inputs):
        with k.loop(0, output.height) as row:
            length = output.width * output.channels
            k.vectors(length, lambda at, count: body(at, count, row, 0))
        return
    with k.loop(0, output.height) as row, k.loop(0, output.width) as column:
        k.vectors(output.channels, lambda at, count: body(at, count, row, column))


def _alike(tensor: Tensor, output: Tensor) -> bool:
    sizes = (tensor.height, tensor.width, tensor.channels)
    return sizes == (output.height, output.width, output.channels)


def _offset(e: Emitter, tensor: Tensor, at: Index, row: Index, column: Index) -> Index:
    """Where a tensor has what belongs to a place of the output."""
    down = 0 if tensor.height == 1 else e.mul(row, tensor.row)
    right = 0 if tensor.width == 1 else e.mul(column, tensor.channels)
    return e.add(tensor.origin, down, right, at)


def _load(
    k: Kernel, tensor: Tensor, source: ir.Value, place: Place, wide: bool
) -> ir.Value:
    """What a tensor has at a place; one channel stands for all where it is not as ``wide``."""
    at, count, row, column = place
    if wide:
        return k.load(source, _offset(k, tensor, at, row, column), count)
    return k.broadcast(k.load_scalar(source, _offset(k, tensor, 0, row, column)))


def _values(k: Kernel, stage: PlainStage, place: Place) -> list[ir.Value]:
    return [
        _load(k, tensor, k.pointer(value(tensor)), place, _is_wide(tensor, stage))
        for tensor in stage.inputs
    ]


def _is_wide(tensor: Tensor, stage: PlainStage) -> bool:
    return tensor.channels == stage.output.channels


# Kernels -----------------------------------------------------------------------------------------


def write_forward(k: Kernel) -> None:
    """y = activation(all inputs together), a vector at a time."""
    stage, y = k.stage(PlainStage), k.pointer(value(k.stage(PlainStage).output))
    kind = _kind(stage)

    def one(at: Index, count: int, row: Index, column: Index) -> None:
        total, *others = _values(k, stage, (at, count, row, column))
        for other in others:
            total = _PAIRS[kind](k, total, other)
        if kind == "average":
            total = k.builder.fmul(total, k.constant(1 / len(stage.inputs)))
        total = activate(k, stage.activation, total)
        k.store(total, y, _offset(k, stage.output, at, row, column), count)

    _every(k, stage, one)


def write_backward(k: Kernel) -> None:
    """The gradient of each input, summed over the places for which it stood."""
    stage = k.stage(PlainStage)
    behind = k.pointer(gradient(stage.output))
    wanted = [n for n, tensor in enumerate(stage.inputs) if gradient(tensor) in k.launch.writes]
    for number in wanted:
        if not _alike(stage.inputs[number], stage.output):
            k.fill_zero(k.pointer(gradient(stage.inputs[number])), stage.inputs[number].size)

    def one(at: Index, count: int, row: Index, column: Index) -> None:
        place = (at, count, row, column)
        there = _offset(k, stage.output, at, row, column)
        slope = k.load(behind, there, count)
        if stage.activation.name != "linear":
            y = k.load(k.pointer(value(stage.output)), there, count)
            slope = gate(k, stage.activation, y, slope)
        read = _values(k, stage, place) if _kind(stage) in _NEED_VALUES else []
        slopes = _slopes(k, _kind(stage), slope, read, len(stage.inputs))
        for number in wanted:
            _leave(k, stage, number, slopes[number], place)

    _every(k, stage, one)


def _slopes(
    e: Emitter, kind: str, slope: ir.Value, read: Sequence[ir.Value], inputs: int
) -> list[ir.Value]:
    """The gradient of every input: back through the chain of pairs."""
    b = e.builder
    if kind in ("add", "average"):
        share = b.fmul(slope, e.constant(1 / inputs)) if kind == "average" else slope
        return [share] * inputs
    if kind == "subtract":
        return [slope, *[b.fneg(slope)] * (inputs - 1)]
    totals = [read[0]]
    for other in read[1:-1]:
        totals.append(_PAIRS[kind](e, totals[-1], other))
    found: list[ir.Value] = []
    for total, other in zip(reversed(totals), reversed(read[1:]), strict=True):
        slope, last = _pair_slopes(e, kind, slope, total, other)
        found.append(last)
    return [slope, *reversed(found)]


def _pair_slopes(
    e: Emitter, kind: str, slope: ir.Value, x: ir.Value, y: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Gradients of both of a pair; where both reach the maximum each has half, as on JAX."""
    b = e.builder
    if kind == "multiply":
        return b.fmul(slope, y), b.fmul(slope, x)
    if kind == "divide":
        part = b.fdiv(slope, y)
        return part, b.fneg(b.fdiv(b.fmul(part, x), y))
    half, zero = b.fmul(slope, e.constant(0.5)), e.constant(0.0)
    order = ">" if kind == "maximum" else "<"
    same = b.fcmp_ordered("==", x, y)
    to_x = b.select(same, half, b.select(b.fcmp_unordered(order, x, y), slope, zero))
    to_y = b.select(same, half, b.select(b.fcmp_unordered(order, y, x), slope, zero))
    return to_x, to_y


def _leave(
    k: Kernel,
    stage: PlainStage,
    number: int,
    slope: ir.Value,
    place: Place,
) -> None:
    """Stores one input's gradient; adds it where that stands for several places."""
    at, count, row, column = place
    tensor = stage.inputs[number]
    result = k.pointer(gradient(tensor))
    if _is_wide(tensor, stage):
        target = _offset(k, tensor, at, row, column)
        if not _alike(tensor, stage.output):
            slope = k.builder.fadd(slope, k.load(result, target, count))
        k.store(slope, result, target, count)
        return
    if count < k.lanes:
        slope = k.builder.select(k.mask(count), slope, k.constant(0.0))
    target = _offset(k, tensor, 0, row, column)
    before = k.load_scalar(result, target)
    k.store_scalar(k.builder.fadd(before, k.reduce("fadd", slope)), result, target)


def words(stage: PlainStage) -> str:
    """What is computed."""
    name = stage.activation.name
    return _kind(stage) if name == "linear" else f"{_kind(stage)} + {name}"


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={"merge.forward": write_forward, "merge.backward": write_backward},
    words=words,
)
