"""Dense layers: one matrix product for forward and input gradient, one for the weight gradient.

Activations of an image lie in its record, so rows of the left factor are a record apart.
"""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.lang import I8, I64, POINTER, Emitter, Index, cover
from convmill.kernels.math import activate, gate
from convmill.lower.schedule import MatrixTile
from convmill.lower.stages import DenseStage
from convmill.plan.graph import LINEAR, Activation


def product(
    module: ir.Module,
    name: str,
    inner: int,
    columns: int,
    weight_row: int,
    record: int,
    tile: MatrixTile,
    lanes: int,
    *,
    has_bias: bool = False,
    activation: Activation = LINEAR,
) -> ir.Function:
    """(x, weights, bias, y, images): y[image, column] = f(sum over k of x[image, k] w[k, column]).

    ``tile`` images x vectors of columns stay in registers while k runs over ``inner``; x and y of
    consecutive images are ``record`` bytes apart; weights are inner x ``weight_row``.
    """
    e = Emitter(module, name, [POINTER, POINTER, POINTER, POINTER, I64], lanes)
    e.no_alias()
    images = e.arguments[4]
    blocks = -(-columns // lanes)
    full = e.mul(e.divide(images, tile.rows), tile.rows)
    for first, last, rows in ((0, full, tile.rows), (full, images, 1)):
        with e.loop(first, last, rows) as image:
            for start, stop, vectors in cover(blocks, tile.vectors, columns % lanes > 0):
                counts = [lanes] * vectors
                if stop == blocks:
                    counts[-1] = columns - (blocks - 1) * lanes
                with e.loop(start * lanes, stop * lanes, vectors * lanes) as column:
                    _product_tile(
                        e,
                        inner,
                        weight_row,
                        record,
                        image,
                        column,
                        rows,
                        counts,
                        has_bias,
                        activation,
                    )
    return e.finish()


def _product_tile(
    e: Emitter,
    inner: int,
    weight_row: int,
    record: int,
    image: Index,
    column: Index,
    rows: int,
    counts: list[int],
    has_bias: bool,
    activation: Activation,
) -> None:
    """``rows`` images times ``len(counts)`` vectors of columns."""
    x, weights, bias, y, _ = e.arguments
    steps = [e.add(column, v * e.lanes) for v in range(len(counts))]
    starts = [
        e.load(bias, step, count) if has_bias else e.constant(0.0)
        for step, count in zip(steps, counts, strict=True)
    ]
    sources = [e.at(x, e.mul(e.add(image, row), record), I8) for row in range(rows)]
    sums = [[e.variable(start) for start in starts] for _ in range(rows)]
    with e.loop(0, inner) as k:
        line = e.mul(k, weight_row)
        factors = [
            e.load(weights, e.add(line, step), count)
            for step, count in zip(steps, counts, strict=True)
        ]
        for source, totals in zip(sources, sums, strict=True):
            value = e.broadcast(e.load_scalar(source, k))
            for total, factor in zip(totals, factors, strict=True):
                e.set(total, e.fma(value, factor, e.get(total)))
    for row, totals in enumerate(sums):
        target = e.at(y, e.mul(e.add(image, row), record), I8)
        for total, step, count in zip(totals, steps, counts, strict=True):
            e.store(activate(e, activation, e.get(total)), target, step, count)


def gate_output(module: ir.Module, stage: DenseStage, lanes: int) -> ir.Function:
    """(y, gradient): the gradient before the activation, in place."""
    e = Emitter(module, f"{stage.name}.gate", [POINTER] * 2, lanes)
    e.no_alias()
    y, gradient = e.arguments

    def one(at: Index, count: int) -> None:
        before = gate(e, stage.activation, e.load(y, at, count), e.load(gradient, at, count))
        e.store(before, gradient, at, count)

    e.vectors(stage.output.channels, one)
    return e.finish()


def weight_gradient(
    module: ir.Module, stage: DenseStage, tile: MatrixTile, record: int, lanes: int
) -> ir.Function:
    """(x, gradient of y, images, result, first input, last input).

    result[input, unit] = sum over images, in order, of x[image, input] gradient[image, unit]; a
    ``tile`` of inputs x vectors of units stays in registers while the images go by.
    """
    e = Emitter(
        module, f"{stage.name}.weight_gradient", [POINTER, POINTER, I64, POINTER, I64, I64], lanes
    )
    x, gradient, images, result, first, last = e.arguments
    units = stage.output.channels
    blocks = -(-units // lanes)
    full = e.add(first, e.mul(e.divide(e.sub(last, first), tile.rows), tile.rows))
    for start, stop, rows in ((first, full, tile.rows), (full, last, 1)):
        with e.loop(start, stop, rows) as row:
            for left, right, vectors in cover(blocks, tile.vectors, units % lanes > 0):
                counts = [lanes] * vectors
                if right == blocks:
                    counts[-1] = units - (blocks - 1) * lanes
                with e.loop(left * lanes, right * lanes, vectors * lanes) as unit:
                    steps = [e.add(unit, v * lanes) for v in range(vectors)]
                    sums = [[e.variable(e.constant(0.0)) for _ in steps] for _ in range(rows)]
                    with e.loop(0, images) as image:
                        away = e.mul(image, record)
                        inputs, outputs = e.at(x, away, I8), e.at(gradient, away, I8)
                        factors = [
                            e.load(outputs, step, count)
                            for step, count in zip(steps, counts, strict=True)
                        ]
                        for r, totals in enumerate(sums):
                            value = e.broadcast(e.load_scalar(inputs, e.add(row, r)))
                            for total, factor in zip(totals, factors, strict=True):
                                e.set(total, e.fma(value, factor, e.get(total)))
                    for r, totals in enumerate(sums):
                        line = e.mul(e.add(row, r), units)
                        for total, step, count in zip(totals, steps, counts, strict=True):
                            e.store(e.get(total), result, e.add(line, step), count)
    return e.finish()


def bias_gradient(module: ir.Module, stage: DenseStage, record: int, lanes: int) -> ir.Function:
    """(gradient of y, images, result): result[unit] = sum over images, in order."""
    e = Emitter(module, f"{stage.name}.bias_gradient", [POINTER, I64, POINTER], lanes)
    gradient, images, result = e.arguments

    def one(at: Index, count: int) -> None:
        total = e.variable(e.constant(0.0))
        with e.loop(0, images) as image:
            line = e.at(gradient, e.mul(image, record), I8)
            e.set(total, e.builder.fadd(e.get(total), e.load(line, at, count)))
        e.store(e.get(total), result, at, count)

    e.vectors(stage.output.channels, one)
    return e.finish()
