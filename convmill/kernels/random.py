"""Random numbers: a hash of seed, step, image and element, so that they depend on nothing else."""

from __future__ import annotations

import math

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import F32, I32, I64, Emitter, Index
from convmill.kernels.math import log, polynomial
from convmill.lower.launches import SEEDS

GOLDEN_64, MIX_64 = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
GOLDEN_32, MIX_32 = 0x9E3779B1, (0x85EBCA6B, 0xC2B2AE35)
SECOND = -(2**31)  # the highest bit, which no element's place has, and so its number turned
SINE = tuple((-1) ** n / math.factorial(2 * n + 1) for n in reversed(range(6)))


class Draws:
    """The numbers of one layer for one image of one step; ``of_batch``: for all images alike."""

    def __init__(self, k: Kernel, seed: int, *, of_batch: bool = False) -> None:
        self.k, b = k, k.builder
        place = ir.Constant(I64, 0) if of_batch else k.told("place")
        given = k.load_scalar(k.pointer(SEEDS), seed, I64)
        key = stream_key(k, given, k.told("iteration"), place)
        self._first = k.broadcast(b.trunc(key, I32))
        self._second = k.broadcast(b.trunc(b.lshr(key, ir.Constant(I64, 32)), I32))

    def numbers(self, element: Index, *, alike: bool = False) -> ir.Value:
        """Numbers of a vector of elements, from ``element`` on; ``alike``: of it in all lanes. An
        element's number is that of its place, times an odd one."""
        k, b = self.k, self.k.builder
        first = b.trunc(k.index(element), I32)
        numbers = k.broadcast(b.mul(first, ir.Constant(I32, GOLDEN_32)))
        if alike:
            return numbers
        steps = [lane * GOLDEN_32 % 2**32 for lane in range(k.lanes)]
        return b.add(numbers, ir.Constant(k.integers, steps))

    def bits(self, numbers: ir.Value) -> ir.Value:
        """32 random bits for each lane."""
        k, b = self.k, self.k.builder
        return _mix(k, b.add(_mix(k, b.xor(numbers, self._first)), self._second))

    def at_least(self, share: float, numbers: ir.Value) -> ir.Value:
        """Lanes whose draw from 0..1 is ``share`` or more."""
        bound = self.k.whole(min(2**32 - 1, round(share * 2**32)))
        return self.k.builder.icmp_unsigned(">=", self.bits(numbers), bound)

    def uniform(self, numbers: ir.Value) -> ir.Value:
        """Above 0, up to 1."""
        k, b = self.k, self.k.builder
        whole = b.uitofp(b.lshr(self.bits(numbers), k.whole(8)), k.vector)
        return b.fmul(b.fadd(whole, k.constant(1.0)), k.constant(2.0**-24))

    def between(self, number: int, low: float, high: float) -> ir.Value:
        """One number of the image's own, a scalar from the range; ``number`` counts them."""
        b, first = self.k.builder, ir.Constant(I32, 0)
        share = b.extract_element(self.uniform(self.numbers(number, alike=True)), first)
        width = ir.Constant(F32, high - low)
        return b.fadd(b.fmul(share, width), ir.Constant(F32, low))

    def below(self, number: int, count: int) -> ir.Value:
        """A whole number of 0 to ``count`` - 1, a scalar; ``number`` counts them."""
        b = self.k.builder
        bits = b.extract_element(self.bits(self.numbers(number, alike=True)), ir.Constant(I32, 0))
        scaled = b.mul(b.zext(bits, I64), ir.Constant(I64, count))
        return b.lshr(scaled, ir.Constant(I64, 32))

    def normal(self, numbers: ir.Value) -> ir.Value:
        """Of mean 0 and deviation 1 (Box and Muller 1958)."""
        k, b = self.k, self.k.builder
        radius = b.fmul(log(k, self.uniform(numbers)), k.constant(-2.0))
        # a logarithm of nearly one may be rounded to above zero
        radius = b.select(b.fcmp_ordered(">", radius, k.constant(0.0)), radius, k.constant(0.0))
        turn = self.uniform(b.xor(numbers, k.whole(SECOND)))
        return b.fmul(k.intrinsic("sqrt", radius), cosine_of_turns(k, turn))


def cosine_of_turns(e: Emitter, turns: ir.Value) -> ir.Value:
    """cos(2 pi t) of 0 to 1: the sine of a quarter less."""
    b = e.builder
    away = e.intrinsic("fabs", b.fsub(turns, e.constant(0.5)))  # from half a turn, up to a half
    angle = b.fmul(b.fsub(away, e.constant(0.25)), e.constant(2 * math.pi))
    return b.fmul(angle, polynomial(e, b.fmul(angle, angle), SINE))


def _mix(e: Emitter, h: ir.Value) -> ir.Value:
    """The finalizer of MurmurHash3 (A. Appleby), on 32-bit lanes."""
    b = e.builder
    h = b.mul(b.xor(h, b.lshr(h, e.whole(16))), e.whole(MIX_32[0]))
    h = b.mul(b.xor(h, b.lshr(h, e.whole(13))), e.whole(MIX_32[1]))
    return b.xor(h, b.lshr(h, e.whole(16)))


def stream_key(e: Emitter, seed: ir.Value, step: ir.Value, position: ir.Value) -> ir.Value:
    """A key for one image of one step: SplitMix64 (S. Vigna) of seed, step and position."""
    b = e.builder
    key = seed
    for part in (step, position):
        key = b.add(b.add(key, part), ir.Constant(I64, GOLDEN_64))
        key = b.mul(b.xor(key, b.lshr(key, ir.Constant(I64, 30))), ir.Constant(I64, MIX_64[0]))
        key = b.mul(b.xor(key, b.lshr(key, ir.Constant(I64, 27))), ir.Constant(I64, MIX_64[1]))
        key = b.xor(key, b.lshr(key, ir.Constant(I64, 31)))
    return key
