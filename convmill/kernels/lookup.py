"""Rows of a table, by numbers in the place of images: embeddings."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, I64, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import Images, Launch, Shares, gradient, of_matrix, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph.operations import Lookup

_FAR = float(2**40)  # beyond any row


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = the rows that x names."""
    stage = site.stage
    read = (value(stage.input), of_matrix("parameter", _operation(stage).table))
    return [Launch("lookup.forward", site.of, Images(), read, (value(stage.output),))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x = zero: numbers of rows have no slope."""
    if not site.gradients.input:
        return []
    return [Launch("lookup.backward", site.of, Images(), (), (gradient(site.stage.input),))]


def weight_gradient(site: Site[PlainStage]) -> list[Launch]:
    """gradient of a row = the sum of those of all places where it is named."""
    stage = site.stage
    read = (value(stage.input), gradient(stage.output))
    written = (of_matrix("gradient_of", _operation(stage).table),)
    over = Shares(stage.output.channels, site.lanes)
    return [Launch("lookup.gradient", site.of, over, read, written, work=stage.output.values)]


def _operation(stage: PlainStage) -> Lookup:
    assert isinstance(stage.operation, Lookup)
    return stage.operation


def _row(k: Kernel, named: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The row that a number names, those below zero counted from the end, as on JAX; and whether
    there is one: where not, row 0."""
    b, rows = k.builder, _operation(k.stage(PlainStage)).rows
    far = ir.Constant(F32, _FAR)
    near = b.fcmp_ordered("<", named, far), b.fcmp_ordered(">", named, b.fneg(far))
    row = b.fptosi(b.select(b.and_(*near), named, far), I64)
    below = b.icmp_signed("<", row, ir.Constant(I64, 0))
    row = b.select(below, b.add(row, ir.Constant(I64, rows)), row)
    known = b.icmp_unsigned("<", row, ir.Constant(I64, rows))
    return b.select(known, row, ir.Constant(I64, 0)), known


Body = Callable[[Index, Index], None]


def _every(k: Kernel, body: Body) -> None:
    """``body(offset in the input, offset in the output)`` for every number of an image."""
    read, written = k.stage(PlainStage).input, k.stage(PlainStage).output
    length = read.width * read.channels
    with k.loop(0, written.height) as row, k.loop(0, written.width) as column:
        place = k.add(k.mul(row, written.width), column)
        if any(read.halo):
            lines = k.mul(k.divide(place, length), read.row - length)
            place = k.add(place, read.origin, lines)
        target = k.add(k.mul(row, written.row), k.mul(column, written.channels))
        body(place, k.add(target, written.origin))


def write_forward(k: Kernel) -> None:
    """Rows are copied; one that is not there is no number."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    table, width = k.pointer(of_matrix("parameter", _operation(stage).table)), stage.output.channels

    def one(place: Index, target: Index) -> None:
        row, known = _row(k, k.load_scalar(x, place))
        source = k.mul(row, width)

        def copy(at: Index, count: int) -> None:
            found = k.load(table, k.add(source, at), count)
            found = k.builder.select(known, found, k.constant(float("nan")))
            k.store(found, y, k.add(target, at), count)

        k.vectors(width, copy)

    _every(k, one)


def write_backward(k: Kernel) -> None:
    """Zeros."""
    stage = k.stage(PlainStage)
    k.fill_zero(k.pointer(gradient(stage.input)), stage.input.size)


def write_gradient(k: Kernel) -> None:
    """A share of the columns."""
    for column, count in k.share(k.stage(PlainStage).output.channels):
        _sum_columns(k, column, count)


def _sum_columns(k: Kernel, column: Index, count: int) -> None:
    """Images in their order; each place is added to its row."""
    stage, b = k.stage(PlainStage), k.builder
    operation, width = _operation(stage), stage.output.channels
    result = k.pointer(of_matrix("gradient_of", operation.table))
    with k.when(k.is_fresh()), k.loop(0, operation.rows) as row:
        k.store(k.constant(0.0), result, k.add(k.mul(row, width), column), count)
    with k.loop(0, k.told("images")) as image:
        x, behind = (k.record(s, image) for s in (value(stage.input), gradient(stage.output)))

        def one(place: Index, target: Index) -> None:
            row, known = _row(k, k.load_scalar(x, place))
            at = k.add(k.mul(row, width), column)
            slope = b.select(known, k.load(behind, k.add(target, column), count), k.constant(0.0))
            k.store(b.fadd(k.load(result, at, count), slope), result, at, count)

        _every(k, one)


OPERATION = Operation(
    forward=forward,
    backward=backward,
    weight_gradient=weight_gradient,
    kernels={
        "lookup.forward": write_forward,
        "lookup.backward": write_backward,
        "lookup.gradient": write_gradient,
    },
    words=lambda stage: "lookup",
)
