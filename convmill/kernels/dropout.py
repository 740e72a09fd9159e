"""Dropout: in training a mask drawn from a hash of seed, step, image and element; else a copy."""

from __future__ import annotations

from llvmlite import ir

from convmill.kernels.build import Kernel
from convmill.kernels.elementwise import rows
from convmill.kernels.lang import I32, I64, Emitter, Index
from convmill.kernels.operation import Operation, Site
from convmill.lower.launches import SEEDS, Images, Launch, gradient, value
from convmill.lower.stages import PlainStage
from convmill.plan.graph import Dropout

GOLDEN_64, MIX_64 = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
GOLDEN_32, MIX_32 = 0x9E3779B1, (0x85EBCA6B, 0xC2B2AE35)


def forward(site: Site[PlainStage]) -> list[Launch]:
    """y = x / (1 - rate) where the mask keeps it, else 0; outside training y = x."""
    x, y = value(site.stage.input), value(site.stage.output)
    if not site.training:
        return [Launch("dropout.copy", site.of, Images(), (x,), (y,))]
    return [Launch("dropout.forward", site.of, Images(), (x, SEEDS), (y,))]


def backward(site: Site[PlainStage]) -> list[Launch]:
    """gradient of x: the same mask, drawn again."""
    if not site.gradients.input:
        return []
    read, written = (gradient(site.stage.output), SEEDS), (gradient(site.stage.input),)
    return [Launch("dropout.backward", site.of, Images(), read, written)]


def _operation(stage: PlainStage) -> Dropout:
    assert isinstance(stage.operation, Dropout)
    return stage.operation


def words(stage: PlainStage) -> str:
    """What is computed."""
    return f"dropout {_operation(stage).rate:g}"


def write_copy(k: Kernel) -> None:
    """y = x."""
    stage = k.stage(PlainStage)
    x, y = k.pointer(value(stage.input)), k.pointer(value(stage.output))

    def one(a: Index, b: Index, _: Index, count: int) -> None:
        k.store(k.load(x, a, count), y, b, count)

    rows(k, stage.input, stage.output, one)


def write_mask(k: Kernel) -> None:
    """target = source / (1 - rate) where a hash of (key, element) keeps it, else 0; the key of an
    image is a hash of the layer's seed, the optimizer's step and the place in the batch."""
    stage, b = k.stage(PlainStage), k.builder
    rate = _operation(stage).rate
    tensors = stage.input, stage.output
    if k.launch.kernel == "dropout.backward":
        tensors = stage.output, stage.input
    source, target = k.pointer(k.launch.reads[0]), k.pointer(k.launch.writes[0])
    seed = k.load_scalar(k.pointer(SEEDS), _operation(stage).seed, I64)
    key = stream_key(k, seed, k.told("iteration"), k.told("place"))
    first = k.broadcast(b.trunc(key, I32))
    second = k.broadcast(b.trunc(b.lshr(key, ir.Constant(I64, 32)), I32))
    bound = k.whole(min(2**32 - 1, round(rate * 2**32)))
    scale = k.constant(1 / (1 - rate) if rate < 1 else 0.0)
    steps = ir.Constant(k.integers, list(range(k.lanes)))

    def one(a: Index, c: Index, element: Index, count: int) -> None:
        number = b.add(k.broadcast(b.trunc(k.index(element), I32)), steps)
        drawn = _mix(k, b.add(_mix(k, b.xor(b.mul(number, k.whole(GOLDEN_32)), first)), second))
        kept = b.icmp_unsigned(">=", drawn, bound)
        scaled = b.select(kept, b.fmul(k.load(source, a, count), scale), k.constant(0.0))
        k.store(scaled, target, c, count)

    rows(k, *tensors, one)


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


OPERATION = Operation(
    forward=forward,
    backward=backward,
    kernels={
        "dropout.copy": write_copy,
        "dropout.forward": write_mask,
        "dropout.backward": write_mask,
    },
    words=words,
)
