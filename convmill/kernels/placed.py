"""The gradient of a convolution's input, place by place of its output, where nothing pools.

Relu cuts about half of the gradients off. The filters that are live at a place are the set bits of
words; their weights, times their gradients, are added up in registers, and only then to the window
that the place has read. Weights of 32 filters stay in the first cache while the places of an image
go by. (Along lists, ``live.py``, each filter is added to memory by itself: that is as quick where
few filters are live at a place, as behind max pooling.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.functions import gate
from convmill.kernels.lang import BIT, I32, I64, Emitter
from convmill.kernels.pieces import Piece, pieces
from convmill.lower.choices import Placed
from convmill.lower.launches import gradient, of_matrix, value
from convmill.lower.lines import round_up
from convmill.lower.stages import ConvolutionStage

WORD = 32  # filters


def scratch(stage: ConvolutionStage) -> int:
    """Float32 elements for gradients before the activation, and for the words of each place."""
    return stage.places * (_row(stage) + _words(stage))


def _row(stage: ConvolutionStage) -> int:
    """Float32 elements of a place of y."""
    return round_up(stage.output.channels, WORD)


def _words(stage: ConvolutionStage) -> int:
    return _row(stage) // WORD


def input_gradient(k: Kernel) -> None:
    """window += the sum over live filters of gradient x weights, for each place; a part of the
    window stays in registers while its filters go by."""
    stage = k.stage(ConvolutionStage)
    assert stage.choice is not None
    tile = stage.choice.input_gradient
    assert isinstance(tile, Placed)
    gradients, words = k.told("scratch"), k.at(k.told("scratch"), stage.places * _row(stage))
    _look(k, stage, gradients, words)
    weights = k.pointer(of_matrix("parameter", stage.kernel))
    result = k.pointer(gradient(stage.input))
    k.fill_zero(result, stage.input.size)
    down, along = stage.strides[0] * stage.input.row, stage.strides[1] * stage.input.channels

    def add(piece: Piece, _: ir.Value) -> None:
        with (
            k.loop(0, _words(stage)) as word,
            k.loop(0, stage.output.height) as row,
            k.loop(0, stage.output.width) as column,
        ):
            place = k.add(k.mul(row, stage.output.width), column)
            live = k.load_scalar(words, k.add(k.mul(place, _words(stage)), word), I32)
            with k.when(k.builder.icmp_signed("!=", live, ir.Constant(I32, 0))):
                corner = k.add(k.mul(row, down), k.mul(column, along), stage.corner)
                window, first = k.at(result, corner), k.mul(word, WORD)
                here = k.at(gradients, k.add(k.mul(place, _row(stage)), first))
                there = k.at(weights, k.mul(first, stage.taps))
                _add_up(k, stage, (live, here, there), window, piece)

    pieces(k, stage, (tile.rows, tile.vectors), add)


def _add_up(
    k: Kernel,
    stage: ConvolutionStage,
    live: tuple[ir.Value, ir.Value, ir.Value],
    window: ir.Value,
    piece: Piece,
) -> None:
    """A piece of a window, of the filters whose bits are set: their gradients and weights."""
    word, gradients, weights = live
    sums = [k.variable(k.constant(0.0)) for _ in piece]
    with _bits(k, word) as filter_:
        every = k.broadcast(k.load_scalar(gradients, filter_))
        here = k.at(weights, k.mul(filter_, stage.taps))
        for total, (_, at, count) in zip(sums, piece, strict=True):
            k.set(total, k.fma(every, k.load(here, at, count), k.get(total)))
    for total, (place, _, count) in zip(sums, piece, strict=True):
        before = k.load(window, place, count)
        k.store(k.builder.fadd(before, k.get(total)), window, place, count)


def _look(k: Kernel, stage: ConvolutionStage, gradients: ir.Value, words: ir.Value) -> None:
    """Gradients before the activation, which may have been put in the place of those behind it, and
    for each place a bit for each filter that is live there."""
    y, behind = value(stage.output), k.pointer(gradient(stage.output))
    with k.loop(0, stage.output.height) as row, k.loop(0, stage.output.width) as column:
        at = pixel_at(k, stage.output, row, column)
        place = k.add(k.mul(row, stage.output.width), column)
        for channel, counts in k.runs(stage.output.channels, WORD // k.lanes):
            live: ir.Value = ir.Constant(I32, 0)
            for v, count in enumerate(counts):
                filter_ = k.add(channel, v * k.lanes)
                gated = k.load(behind, k.add(at, filter_), count)
                if y in k.launch.reads:
                    read = k.load(k.pointer(y), k.add(at, filter_), count)
                    gated = gate(k, stage.activation, read, gated)
                k.store(gated, gradients, k.add(k.mul(place, _row(stage)), filter_), count)
                alive = k.builder.fcmp_unordered("!=", gated, k.constant(0.0))
                live = k.builder.or_(live, _moved(k, alive, v * k.lanes))
            spot = k.add(k.mul(place, _words(stage)), k.divide(channel, WORD))
            k.store_scalar(live, words, spot, I32)


def _moved(e: Emitter, lanes: ir.Value, places: int) -> ir.Value:
    """The lanes' bits in a word, from the bit at ``places`` on."""
    word = e.builder.zext(e.builder.bitcast(lanes, ir.IntType(e.lanes)), I32)
    return e.builder.shl(word, ir.Constant(I32, places))


@contextmanager
def _bits(e: Emitter, word: ir.Value) -> Iterator[ir.Value]:
    """A loop over the bits of a word that are set, of which there are some: their numbers."""
    b = e.builder
    body, done, before = b.append_basic_block("bits"), b.append_basic_block("done"), b.block
    b.branch(body)
    with b.within(body, done):
        left = b.phi(I32)
        left.add_incoming(word, before)
        count = e.declare("llvm.cttz.i32", I32, [I32, BIT])
        yield b.zext(b.call(count, [left, ir.Constant(BIT, 1)]), I64)
        rest = b.and_(left, b.sub(left, ir.Constant(I32, 1)))
        left.add_incoming(rest, b.block)
        b.cbranch(b.icmp_signed("!=", rest, ir.Constant(I32, 0)), body, done)
