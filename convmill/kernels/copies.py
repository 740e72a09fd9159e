"""Copies of kernels for those that read them another way: transposed, and Winograd's transforms."""

from __future__ import annotations

from collections.abc import Iterable

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lanes import transpose
from convmill.kernels.lang import F32, I64, POINTER, Emitter, Index
from convmill.lower.launches import Launch, Shares, of_matrix
from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.network import COPIES, Copy, Network

LATE_BYTES = 1024 * 1024  # what is larger does not stay in the second cache beside all else


def copies(network: Network, readers: Iterable[Launch], lanes: int) -> dict[int, list[Launch]]:
    """Launches that copy the parameters of which ``readers`` read a copy, by parameter; whole
    vectors of rows."""
    read = {slot for launch in readers for slot in launch.reads}
    found: dict[int, list[Launch]] = {}
    for matrix in network.matrices:
        pack, transform, turned = (of_matrix(kind, matrix.index) for kind in COPIES)
        over, of = Shares(matrix.rows, lanes), f"matrix{matrix.index}"
        source = of_matrix("parameter", matrix.index)
        launches = []
        if pack in read or transform in read:
            launches.append(Launch("copies.transpose", of, over, (source,), (pack,)))
        if transform in read:
            launches.append(Launch("winograd.weights", of, over, (pack,), (transform,)))
        if turned in read:
            launches.append(Launch("winograd.turned_weights", of, over, (source,), (turned,)))
        if launches:
            found[matrix.index] = launches
    return found


def write_transpose(k: Kernel) -> None:
    """copy[column, row] = parameter[row, column] for a share of the rows."""
    matrix = k.build.matrix(k.launch)
    write = k.build.helper("transpose", lambda: _transpose(k.build.module, k.lanes))
    source, target = ends(k)
    copy, first, last = matrix.copy("pack"), k.told("first"), k.told("last")
    sizes = (matrix.rows, matrix.columns)
    k.call(write, source, *sizes, target, copy.column, copy.vector // k.lanes, first, last)


def is_late(copy: Copy) -> bool:
    """Whether a copy comes from behind the second cache each time, so that it is asked for ahead.
    """
    return FLOAT_BYTES * copy.size > LATE_BYTES


def in_copy(e: Emitter, copy: Copy, row: Index, column: Index) -> Index:
    """Where in a copy the vector of rows from ``row`` on has a column."""
    return e.add(e.mul(row, copy.vector // e.lanes), e.mul(column, copy.column))


def ends(k: Kernel) -> tuple[ir.Value, ir.Value]:
    """Addresses of what is read and of what is written."""
    (read,), (written,) = k.launch.reads, k.launch.writes
    return k.pointer(read), k.pointer(written)


def _transpose(module: ir.Module, lanes: int) -> ir.Function:
    """(matrix, rows, columns, copy, from one of its columns to the next, from one of its vectors of
    rows to the next divided by the lanes, first row, last row): copy[c, r] = matrix[r, c].

    Squares of lanes x lanes are turned in registers; rows that do not exist become zeros, so that
    kernels may read whole vectors of the copy. ``first row`` is a multiple of lanes.
    """
    e = Emitter(module, "transpose", [POINTER, I64, I64, POINTER, I64, I64, I64, I64], lanes)
    matrix, _, columns, copy, to_column, to_row, first, last = e.arguments
    full_columns = e.mul(e.divide(columns, lanes), lanes)
    full_rows = e.add(first, e.mul(e.divide(e.sub(last, first), lanes), lanes))
    with e.loop(first, full_rows, lanes) as row:
        with e.loop(0, full_columns, lanes) as column:
            square = [
                e.load(matrix, e.add(e.mul(e.add(row, r), columns), column)) for r in range(lanes)
            ]
            for c, line in enumerate(transpose(e, square)):
                at = e.add(e.mul(e.add(column, c), to_column), e.mul(row, to_row))
                e.store(line, copy, at)
        _turn_slowly(e, (row, e.add(row, lanes)), (full_columns, columns))
    with e.when(e.less(full_rows, last)):
        _turn_slowly(e, (full_rows, e.add(full_rows, lanes)), (0, columns))
    return e.finish()


def _turn_slowly(e: Emitter, rows: tuple[Index, Index], columns: tuple[Index, Index]) -> None:
    """Transpose what fills no square, element by element; zeros below the last row."""
    matrix, height, width, copy, to_column, to_row, *_ = e.arguments
    with e.loop(*columns) as column, e.loop(*rows) as row:
        inside = e.less(row, height)
        safe = e.builder.select(inside, e.index(row), ir.Constant(I64, 0))
        value = e.load_scalar(matrix, e.add(e.mul(safe, width), column))
        value = e.builder.select(inside, value, ir.Constant(F32, 0.0))
        at = e.add(e.mul(column, to_column), e.mul(rows[0], to_row), e.sub(row, rows[0]))
        e.store_scalar(value, copy, at)


KERNELS = {"copies.transpose": write_transpose}
