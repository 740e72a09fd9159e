"""The parts of a convolution's filter, and of the windows that it meets, that fit the registers."""

from __future__ import annotations

from collections.abc import Callable

from convmill.kernels import ir
from convmill.kernels.lang import Emitter, Index, cover
from convmill.lower.stages import ConvolutionStage

Piece = list[tuple[Index, Index, int]]  # (offset in the image, offset in the filter, lanes)


def pieces(
    e: Emitter,
    stage: ConvolutionStage,
    size: tuple[int, int],
    body: Callable[[Piece, ir.Value], None],
) -> None:
    """Call ``body`` for each part of a filter, ``size`` rows of the kernel times vectors; the bit
    tells the first.

    The parts are loops over kernel rows, over runs of neighbours and over their vectors; only the
    last vector of a run may be a partial one.
    """
    lanes, length = e.lanes, stage.run_length
    most_rows, most_vectors = size
    vectors = -(-length // lanes)
    for top, bottom, rows in cover(stage.kernel_size[0], most_rows):
        for start, stop, wide in cover(vectors, most_vectors, length % lanes > 0):
            last = length - (stop - 1) * lanes if stop == vectors else lanes
            counts = [lanes] * (wide - 1) + [last]
            with (
                e.loop(top, bottom, rows) as row,
                e.loop(0, stage.runs) as run,
                e.loop(start * lanes, stop * lanes, wide * lanes) as inside,
            ):
                there, here = e.mul(run, stage.run_step), e.mul(run, length)
                piece = [
                    (
                        e.add(e.mul(e.add(row, r), stage.line_step), there, inside, v * lanes),
                        e.add(e.mul(e.add(row, r), stage.window_row), here, inside, v * lanes),
                        count,
                    )
                    for r in range(rows)
                    for v, count in enumerate(counts)
                ]
                corner = e.index(e.add(row, run, inside))  # none is below zero
                body(piece, e.equal(corner, 0))
