"""Batch normalization forward: moments of images and of a batch, and what follows from them.

Some vectors of channels go over the places together, so that memory is read in its own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from convmill.kernels import folding, ir
from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import pixel_at
from convmill.kernels.folding import MEAN, SCALE, SHIFT
from convmill.kernels.functions import activate
from convmill.kernels.lang import F32, Index, cover
from convmill.lower.launches import Slot, of_matrix, value
from convmill.lower.lines import FLOAT_BYTES
from convmill.lower.stages import BatchNormalizationStage
from convmill.lower.tensors import Tensor

S = BatchNormalizationStage
UNROLL = 4  # sums that run beside one another: an addition waits for the one before it


def of_image(stage: S, kind: str) -> Slot:
    """Two rows that an image leaves: its "moments", or the "sums" of its gradients."""
    return Slot(f"{kind}/{stage.output.buffer}", 2 * FLOAT_BYTES * stage.moments.row, "image")


# Going over places and channels ------------------------------------------------------------------


class Vector(NamedTuple):
    """A vector of channels: the first one, and how many lanes they fill; which of those that go
    over the places together."""

    channel: Index
    lanes: int
    number: int


def runs(k: Kernel, stage: S) -> Iterator[list[Vector]]:
    """Vectors that go over the places together: so many that what belongs to their channels stays
    in registers. A loop ends when the next run is asked for."""
    for first, every in k.runs(stage.input.channels, k.build.machine.registers // 8):
        yield [
            Vector(k.add(first, number * k.lanes), lanes, number)
            for number, lanes in enumerate(every)
        ]


def _turns(vectors: list[Vector]) -> int:
    """Places that are summed beside one another."""
    return max(1, UNROLL // len(vectors))


def each_place(
    k: Kernel, vectors: list[Vector], *tensors: Tensor
) -> Iterator[tuple[Vector, int, list[Index]]]:
    """The vectors of every pixel, each with the number of its accumulator, and where it lies in
    each tensor. A loop ends when the next one is asked for."""
    height, width = tensors[0].height, tensors[0].width
    with k.loop(0, height) as row:
        for left, right, step in cover(width, _turns(vectors)):
            with k.loop(left, right, step) as first:
                for turn in range(step):
                    pixels = [pixel_at(k, one, row, k.add(first, turn)) for one in tensors]
                    for vector in vectors:
                        yield vector, turn, [k.add(pixel, vector.channel) for pixel in pixels]


def zeros(k: Kernel, vectors: list[Vector]) -> list[list[ir.Value]]:
    """Accumulators of each vector."""
    return [[k.variable(k.constant(0.0)) for _ in range(_turns(vectors))] for _ in vectors]


def added(k: Kernel, parts: list[ir.Value]) -> ir.Value:
    """The sum of accumulators."""
    total, *others = (k.get(part) for part in parts)
    for other in others:
        total = k.builder.fadd(total, other)
    return total


def number_of(k: Kernel, count: Index) -> ir.Value:
    """A count as a number in every lane."""
    return k.broadcast(k.builder.sitofp(k.index(count), F32))


class Scaling(NamedTuple):
    """What is taken away from a vector of channels, what that is multiplied by, and what is
    added."""

    mean: ir.Value
    scale: ir.Value
    shift: ir.Value


def scaling(k: Kernel, stage: S, vector: Vector) -> Scaling:
    """Of a vector."""
    rows = (MEAN, SCALE, SHIFT)
    return Scaling(
        *(folding.kept(k, stage.moments, row, vector.channel, vector.lanes) for row in rows)
    )


def scaled(k: Kernel, x: ir.Value, by: Scaling) -> ir.Value:
    """(x - mean) scale + shift."""
    return k.fma(k.builder.fsub(x, by.mean), by.scale, by.shift)


# Kernels -----------------------------------------------------------------------------------------


def write_moments(k: Kernel) -> None:
    """Mean, and sum of squared deviations, of an image's places; the sums of some vectors of
    channels stay in registers."""
    stage, b = k.stage(S), k.builder
    x, moments = k.pointer(value(stage.input)), k.pointer(of_image(stage, "moments"))
    share, origin = k.constant(1 / stage.input.places), pixel_at(k, stage.input, 0, 0)
    for vectors in runs(k, stage):
        sums, squares = zeros(k, vectors), zeros(k, vectors)
        firsts = [k.load(x, k.add(origin, one.channel), one.lanes) for one in vectors]
        for vector, turn, (at,) in each_place(k, vectors, stage.input):
            total = sums[vector.number][turn]
            away = b.fsub(k.load(x, at, vector.lanes), firsts[vector.number])
            k.set(total, b.fadd(k.get(total), away))
        means = [
            k.fma(added(k, total), share, first) for total, first in zip(sums, firsts, strict=True)
        ]
        for vector, turn, (at,) in each_place(k, vectors, stage.input):
            total = squares[vector.number][turn]
            away = b.fsub(k.load(x, at, vector.lanes), means[vector.number])
            k.set(total, k.fma(away, away, k.get(total)))
        for (channel, lanes, number), mean in zip(vectors, means, strict=True):
            k.store(mean, moments, channel, lanes)
            total = added(k, squares[number])
            k.store(total, moments, k.add(stage.moments.row, channel), lanes)


def write_combine(k: Kernel) -> None:
    """Moments of the batch out of those of its images, in their order; scale and the moving
    statistics follow."""
    stage, b = k.stage(S), k.builder
    images, moments = k.told("images"), of_image(stage, "moments")
    for channel, count in k.share(stage.input.channels):
        total, spread = k.variable(k.constant(0.0)), k.variable(k.constant(0.0))
        first = k.load(k.record(moments, 0), channel, count)
        with k.loop(0, images) as image:
            away = b.fsub(k.load(k.record(moments, image), channel, count), first)
            k.set(total, b.fadd(k.get(total), away))
        mean = b.fadd(first, b.fdiv(k.get(total), number_of(k, images)))
        places = k.constant(float(stage.input.places))
        with k.loop(0, images) as image:
            record = k.record(moments, image)
            away = b.fsub(k.load(record, channel, count), mean)
            squares = k.load(record, k.add(stage.moments.row, channel), count)
            term = k.fma(b.fmul(away, away), places, squares)
            k.set(spread, b.fadd(k.get(spread), term))
        variance = b.fdiv(k.get(spread), b.fmul(number_of(k, images), places))
        folding.keep(k, stage.moments, mean, variance, channel, count)
        for index, fresh in ((stage.moments.mean, mean), (stage.moments.variance, variance)):
            moving = k.pointer(of_matrix("parameter", index))
            kept = b.fmul(k.load(moving, channel, count), k.constant(stage.momentum))
            taken = b.fmul(fresh, k.constant(1 - stage.momentum))
            k.store(b.fadd(kept, taken), moving, channel, count)


def write_apply(k: Kernel) -> None:
    """y = activation((x - mean) scale + shift); all three stay in registers for some vectors of
    channels."""
    stage = k.stage(S)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))
    for vectors in runs(k, stage):
        scalings = [scaling(k, stage, vector) for vector in vectors]
        for (_, lanes, number), _, (at, out) in each_place(k, vectors, stage.input, stage.output):
            result = scaled(k, k.load(x, at, lanes), scalings[number])
            k.store(activate(k, stage.activation, result), y, out, lanes)
