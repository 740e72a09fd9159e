"""A rectangle of an image is filled, in training and in some images; outside training a copy."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.dropout import copied
from convmill.kernels.elementwise import pixel_at, rows
from convmill.kernels.lang import F32, I32, I64, Index
from convmill.kernels.operation import Operation, Site
from convmill.kernels.random import Draws
from convmill.lower.launches import SEEDS, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.lower.tensors import Tensor
from convmill.plan.graph.random import Erase

VALUES = 8  # the number of the first value's draw: those before are the rectangle's
Rectangle = tuple[tuple[ir.Value, ir.Value], tuple[ir.Value, ir.Value]]  # rows, columns


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x with a rectangle filled; outside training y = x."""
    x, y = value(site.stage.input), value(site.stage.output)
    if not site.training:
        return [Launch("erase.copy", site.of, Images(), (x,), (y,))]
    return [Launch("erase.forward", site.of, Images(), (x, SEEDS), (y,))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x: zero in the same rectangle, drawn again."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output), SEEDS), (gradient(site.stage.input),)
    return [Launch("erase.backward", site.of, Images(), read, written)]


def words(stage: PlainStage) -> str:
    """What is computed."""
    return "random erasing"


def write_erased(k: Kernel) -> None:
    """target = source, and in the rectangle what it is filled with; backward zero."""
    stage = k.stage(PlainStage)
    operation, b = stage.operation, k.builder
    assert isinstance(operation, Erase)
    is_backward = k.launch.kernel == "erase.backward"
    ends = (stage.output, stage.input) if is_backward else (stage.input, stage.output)
    source, target = k.pointer(k.launch.reads[0]), k.pointer(k.launch.writes[0])
    rows(k, *ends, lambda a, c, _, count: k.store(k.load(source, a, count), target, c, count))
    draws = Draws(k, operation.seed)
    chance, share = draws.between(4, *operation.chances), draws.between(5, 0.0, 1.0)
    (top, bottom), (left, right) = _rectangle(k, draws, stage.input, operation)
    length = stage.input.width * stage.input.channels
    bounds = (k.index(k.mul(end, stage.input.channels)) for end in (left, right))
    first, last = (k.broadcast(b.trunc(bound, I32)) for bound in bounds)
    fill = (lambda *_: k.constant(0.0)) if is_backward else _filling(k, stage, draws)
    with k.when(b.fcmp_ordered("<=", share, chance)), k.loop(top, bottom) as row:
        here, there = (pixel_at(k, end, row, 0) for end in ends)

        def one(at: Index, count: int) -> None:
            element = k.numbered(at)
            after = b.icmp_signed(">=", element, first)
            inside = b.and_(after, b.icmp_signed("<", element, last))
            kept = k.load(source, k.add(here, at), count)
            made = fill(k.mul(row, length), at, count)
            k.store(b.select(inside, made, kept), target, k.add(there, at), count)

        k.vectors(length, one)


def _rectangle(k: Kernel, draws: Draws, image: Tensor, operation: Erase) -> Rectangle:
    """Its first row and column, and those behind it."""
    across = _side(k, draws, 0, image.width, operation)
    return _side(k, draws, 1, image.height, operation), across


def _side(
    k: Kernel, draws: Draws, number: int, size: int, operation: Erase
) -> tuple[ir.Value, ir.Value]:
    """Along one axis, the first place that is filled, and the first one behind."""
    b, whole = k.builder, ir.Constant(F32, float(size))
    length = b.fmul(k.intrinsic("sqrt", draws.between(number, *operation.areas)), whole)
    start = b.fmul(draws.between(2 + number, 0.0, 1.0), b.fsub(whole, length))
    first, last = (
        k.minimum(b.fptosi(k.intrinsic("ceil", end), I64), size)
        for end in (start, b.fadd(start, length))
    )
    return k.index(first), k.index(last)


def _filling(k: Kernel, stage: PlainStage, draws: Draws) -> Callable[[Index, Index, int], ir.Value]:
    """What a row is filled with, by the number of its first element, from its element ``at`` on."""
    assert isinstance(stage.operation, Erase)
    fill, (low, high) = stage.operation.fill, stage.operation.limits
    b, lowest, highest = k.builder, k.constant(low), k.constant(high)

    def normal(row: Index, at: Index, count: int) -> ir.Value:
        made = b.fmul(draws.normal(draws.numbers(k.add(row, at, VALUES))), highest)
        made = b.select(b.fcmp_ordered(">", made, lowest), made, lowest)
        return b.select(b.fcmp_ordered("<", made, highest), made, highest)

    if fill is None:
        return normal
    table = k.table(list(fill) * (stage.input.width * stage.input.channels // len(fill)))
    return lambda row, at, count: k.load(table, at, count)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={
        "erase.copy": copied,
        "erase.forward": write_erased,
        "erase.backward": write_erased,
    },
    words=words,
)
