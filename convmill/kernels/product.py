"""Matrix products: y[image, column] = f(bias[column] + sum over j of x[image, j] w[j, column]).

Activations of an image lie in its record, so rows of x and y are a record apart. A tile of images x
vectors of columns stays in registers while its sums run over j, always in the order of j: over the
images of a group, or, where w is larger than the cache, over all images of a batch for each panel
of w. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.functions import activate
from convmill.kernels.lanes import transpose
from convmill.kernels.lang import F32, Index
from convmill.lower.choices import MatrixTile
from convmill.lower.launches import Slot
from convmill.plan.graph.activations import LINEAR, Activation


@dataclass(frozen=True)
class Product:
    """``inner`` is the number of j, ``columns`` that of sums for each image."""

    x: Slot
    bias: ir.Value | None
    y: Slot
    inner: int
    columns: int
    activation: Activation


@dataclass(frozen=True)
class Held:
    """Weights of some columns for j from ``first`` to ``last``, a ``row`` apart."""

    pointer: ir.Value
    row: int
    first: Index
    last: Index


# Lays out the weights of so many rows from a first one on, and of vectors of columns with so many
# lanes each from a column on, without gaps: (pointer, first row, rows, column, lanes).
Fill = Callable[[ir.Value, Index, Index, Index, Sequence[int]], None]


def over_group(
    k: Kernel, product: Product, weights: ir.Value, weight_row: int, tile: MatrixTile
) -> None:
    """The product for the images of a group, which may be half a one; ``weights`` are inner x
    ``weight_row``."""
    for image, rows in k.in_pieces(0, k.told("images"), tile.rows, tile.rows // 2):
        for column, counts in k.runs(product.columns, tile.vectors):
            held = Held(k.at(weights, column), weight_row, 0, product.inner)
            _tile(k, product, held, (image, column), rows, counts)


def over_batch(k: Kernel, product: Product, tile: MatrixTile, depth: int, fill: Fill) -> None:
    """The product for a share of the columns and all images of a batch.

    ``depth`` rows of weights of a tile's columns are laid out on the stack, where they stay in the
    first cache while all images go by; sums are put down in y between two of such panels.
    """
    panel = k.scratch(F32, depth * tile.vectors * k.lanes)
    with k.loop(0, product.inner, depth) as first:
        rows = k.minimum(depth, k.sub(product.inner, first))
        for column, counts in _strips(k, product.columns, tile.vectors):
            fill(panel, first, rows, column, counts)
            held = Held(panel, len(counts) * k.lanes, first, k.add(first, rows))
            for image, together in k.in_pieces(0, k.told("images"), tile.rows):
                _tile(k, product, held, (image, column), together, counts)


def _strips(k: Kernel, columns: int, vectors: int) -> Iterator[tuple[Index, list[int]]]:
    """The columns of a share, by so many ``vectors`` and then one by one: where some start, and the
    lanes of each vector. A loop ends when the next is asked for."""
    first, last, width = k.told("first"), k.told("last"), vectors * k.lanes
    whole = columns - columns % k.lanes
    stop = k.minimum(last, whole)
    full = k.add(first, k.mul(k.divide(k.sub(stop, first), width), width))
    with k.loop(first, full, width) as column:
        yield column, [k.lanes] * vectors
    if vectors > 1:
        with k.loop(full, stop, k.lanes) as column:
            yield column, [k.lanes]
    if columns > whole:
        with k.when(k.less(whole, last)):
            yield whole, [columns - whole]


def _tile(
    k: Kernel,
    product: Product,
    held: Held,
    place: tuple[Index, Index],
    rows: int,
    counts: Sequence[int],
) -> None:
    """``rows`` images times ``len(counts)`` vectors of columns, at (image, column); it goes on from
    what is in y where rows of weights came before."""
    image, column = place
    steps = [v * k.lanes for v in range(len(counts))]
    parts = list(zip(steps, counts, strict=True))
    sources = [k.record(product.x, k.add(image, row)) for row in range(rows)]
    targets = [k.at(k.record(product.y, k.add(image, row)), column) for row in range(rows)]
    biases = [
        k.constant(0.0)
        if product.bias is None
        else k.load(product.bias, k.add(column, step), count)
        for step, count in parts
    ]
    sums = [[k.variable(one) for one in _starts(k, held, biases, y, parts)] for y in targets]
    with k.loop(held.first, held.last) as j:
        line = k.mul(k.sub(j, held.first), held.row)
        factors = [k.load(held.pointer, k.add(line, step), count) for step, count in parts]
        for source, totals in zip(sources, sums, strict=True):
            every = k.broadcast(k.load_scalar(source, j))
            for total, factor in zip(totals, factors, strict=True):
                k.set(total, k.fma(every, factor, k.get(total)))

    def put(activation: Activation) -> None:
        for target, totals in zip(targets, sums, strict=True):
            for total, (step, count) in zip(totals, parts, strict=True):
                k.store(activate(k, activation, k.get(total)), target, step, count)

    if isinstance(held.last, int) or product.activation == LINEAR:
        put(product.activation)
        return
    ends = k.equal(held.last, product.inner)
    with k.builder.if_else(ends) as (then, otherwise):
        with then:
            put(product.activation)
        with otherwise:
            put(LINEAR)


def _starts(
    k: Kernel,
    held: Held,
    biases: Sequence[ir.Value],
    target: ir.Value,
    parts: Sequence[tuple[int, int]],
) -> list[ir.Value]:
    """What sums start from: biases, or what rows of weights before have left in y."""
    if isinstance(held.first, int):
        return list(biases)
    begins = k.equal(held.first, 0)
    return [
        k.builder.select(begins, bias, k.load(target, step, count))
        for bias, (step, count) in zip(biases, parts, strict=True)
    ]


# Panels ------------------------------------------------------------------------------------------


def straight(k: Kernel, weights: ir.Value, weight_row: int) -> Fill:
    """Panels of weights that are inner x ``weight_row``."""

    def fill(
        panel: ir.Value, first: Index, rows: Index, column: Index, counts: Sequence[int]
    ) -> None:
        with k.loop(0, rows) as row:
            source = k.at(weights, k.add(k.mul(k.add(first, row), weight_row), column))
            target = k.mul(row, len(counts) * k.lanes)
            for v, count in enumerate(counts):
                one = k.load(source, v * k.lanes, count)
                k.store(one, panel, k.add(target, v * k.lanes))

    return fill


def turned(k: Kernel, weights: ir.Value, product: Product) -> Fill:
    """Panels of weights that are columns x inner: squares of lanes x lanes are turned in registers.

    A panel has whole squares of rows; those behind the last row hold zeros, and nobody reads them.
    """
    inner, columns, lanes = product.inner, product.columns, k.lanes
    whole = inner - inner % lanes

    def square(
        panel: ir.Value, first: Index, row: Index, column: Index, v: int, wide: int, count: int
    ) -> None:
        lines = []
        for lane in range(lanes):
            line = k.minimum(k.add(column, v * lanes + lane), columns - 1)
            lines.append(k.load(weights, k.add(k.mul(line, inner), first, row), count))
        for lane, one in enumerate(transpose(k, lines)):
            k.store(one, panel, k.add(k.mul(k.add(row, lane), wide), v * lanes))

    def fill(
        panel: ir.Value, first: Index, rows: Index, column: Index, counts: Sequence[int]
    ) -> None:
        wide = len(counts) * lanes
        for v in range(len(counts)):
            full = k.minimum(rows, k.sub(whole, first))
            with k.loop(0, full, lanes) as row:
                square(panel, first, row, column, v, wide, lanes)
            if inner > whole:
                with k.when(k.less(full, rows)):
                    square(panel, first, full, column, v, wide, inner - whole)

    return fill
