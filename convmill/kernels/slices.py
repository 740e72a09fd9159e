"""The gradients of a batch, of those that its slices have summed apart; see ``lower/slices.py``."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import I8, I64, Emitter, Index
from convmill.lower.launches import of_matrix, partial
from convmill.lower.slices import SLICES

TOGETHER = 4  # vectors that are summed at once


def size_of(e: Emitter, images: Index, group: int) -> Index:
    """What ``slice_size`` is for a batch of so many images; a ``group`` is a power of two."""
    b = e.builder
    size = e.divide(e.add(images, SLICES - 1), SLICES)
    found = e.mul(e.divide(e.add(size, group - 1), group), group)
    power = group
    while power >= 1:
        fits = b.icmp_signed("<=", e.index(size), ir.Constant(I64, power))
        found = b.select(fits, ir.Constant(I64, power), e.index(found))
        power //= 2
    return found


def write_sum(k: Kernel) -> None:
    """gradient = the sum over slices, one behind the other, for a share of the rows; some vectors
    stay in registers while the slices go by."""
    matrix, build = k.build.matrix(k.launch), k.build
    sums, result = k.pointer(partial(matrix)), k.pointer(of_matrix("gradient_of", matrix.index))
    images = k.told("images")
    size = size_of(k, images, build.network.images_per_group)
    slices = k.divide(k.add(images, size, -1), size)
    first = k.mul(k.told("first"), matrix.columns)
    last = k.mul(k.told("last"), matrix.columns)
    step = TOGETHER * k.lanes
    whole = k.add(first, k.mul(k.divide(k.sub(last, first), step), step))

    def add_up(at: Index, counts: list[int]) -> None:
        places = [k.add(at, v * k.lanes) for v in range(len(counts))]
        pairs = list(zip(places, counts, strict=True))
        totals = [k.variable(k.load(sums, *pair)) for pair in pairs]
        with k.loop(1, slices) as number:
            here = k.at(sums, k.mul(number, build.memory.slice_bytes), I8)
            for total, pair in zip(totals, pairs, strict=True):
                k.set(total, k.builder.fadd(k.get(total), k.load(here, *pair)))
        for total, (place, count) in zip(totals, pairs, strict=True):
            k.store(k.get(total), result, place, count)

    with k.loop(first, whole, step) as at:
        add_up(at, [k.lanes] * TOGETHER)
    with k.loop(whole, last) as at:
        add_up(at, [1])


KERNELS = {"slices.sum": write_sum}
