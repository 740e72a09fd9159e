"""Batch normalization folded into the convolution before it: each sum is scaled and shifted before
its activation. Scale and shift of each channel follow from the moving statistics, once a call."""

from __future__ import annotations

from convmill.kernels import ir
from convmill.kernels.build import Kernel
from convmill.kernels.lang import Index
from convmill.kernels.operation import Site
from convmill.lower.launches import Launch, Shares, Slot, of_matrix
from convmill.lower.stages import (
    BatchNormalizationStage,
    ConvolutionStage,
    DepthwiseStage,
    Moments,
    Stage,
    WeightedStage,
)

MEAN, INVERSE, SCALE, SHIFT = range(4)  # rows of what belongs to a channel


def statistics(moments: Moments) -> Slot:
    """Mean, 1 / deviation, scale and shift of each channel: sums times scale, plus shift; or, where
    the normalization stands alone, what is away from the mean times scale, plus shift."""
    return Slot(f"statistics/{moments.place}")


def parameters(moments: Moments) -> tuple[Slot, ...]:
    """The parameters that scale and shift follow from."""
    return tuple(of_matrix("parameter", index) for index in moments.parameters)


def fold(site: Site, moments: Moments) -> Launch:
    """Scale and shift out of the moving statistics."""
    over, written = Shares(moments.channels, site.lanes), (statistics(moments),)
    bias = _bias_of(site.stage)
    own = () if bias is None else (of_matrix("parameter", bias),)
    return Launch("folding.fold", site.of, over, (*parameters(moments), *own), written)


def _bias_of(stage: Stage) -> int | None:
    """The bias that lies before the normalization, inside its stage."""
    return stage.bias if isinstance(stage, WeightedStage) else None


def prepare(site: Site[ConvolutionStage] | Site[DepthwiseStage]) -> list[Launch]:
    """The launch, where something is folded in."""
    return [] if site.stage.folded is None else [fold(site, site.stage.folded)]


def reads(stage: WeightedStage) -> tuple[Slot, ...]:
    """What is added to sums: the bias, or scale and shift with the bias in them."""
    if stage.folded is not None:
        return (statistics(stage.folded),)
    return () if stage.bias is None else (of_matrix("parameter", stage.bias),)


def finish(
    k: Kernel, stage: WeightedStage, total: ir.Value, channel: Index, count: int
) -> ir.Value:
    """A vector of sums, scaled and shifted where something is folded in."""
    if stage.folded is None:
        return total
    scale, shift = (kept(k, stage.folded, row, channel, count) for row in (SCALE, SHIFT))
    return k.fma(total, scale, shift)


def kept(k: Kernel, moments: Moments, row: int, channel: Index, count: int) -> ir.Value:
    """One row of what belongs to a vector of channels."""
    return k.load(k.pointer(statistics(moments)), k.add(row * moments.row, channel), count)


def keep(
    k: Kernel, moments: Moments, mean: ir.Value, variance: ir.Value, channel: Index, count: int
) -> None:
    """Stores mean, 1 / deviation, scale and shift of a vector of channels; a bias that lies before
    the normalization is scaled with the rest."""
    b, stage = k.builder, k.build.network.stages[k.launch.number]
    root = k.intrinsic("sqrt", b.fadd(variance, k.constant(moments.epsilon)))
    inverse = b.fdiv(k.constant(1.0), root)
    bias = _bias_of(stage)
    gamma, beta, before = (
        None if index is None else k.load(k.pointer(of_matrix("parameter", index)), channel, count)
        for index in (moments.gamma, moments.beta, bias)
    )
    scale = inverse if gamma is None else b.fmul(inverse, gamma)
    shift = k.constant(0.0) if beta is None else beta
    if isinstance(stage, WeightedStage):
        center = mean if before is None else b.fsub(mean, before)
        shift = b.fsub(shift, b.fmul(center, scale))
    rows = ((MEAN, mean), (INVERSE, inverse), (SCALE, scale), (SHIFT, shift))
    for row, each in rows:
        target = k.pointer(statistics(moments))
        k.store(each, target, k.add(row * moments.row, channel), count)


def write_fold(k: Kernel) -> None:
    """Scale and shift out of the moving statistics."""
    stage = k.build.network.stages[k.launch.number]
    assert isinstance(stage, BatchNormalizationStage | WeightedStage)
    moments = stage.moments if isinstance(stage, BatchNormalizationStage) else stage.folded
    assert moments is not None
    for channel, count in k.share(moments.channels):
        mean, variance = (
            k.load(k.pointer(of_matrix("parameter", index)), channel, count)
            for index in (moments.mean, moments.variance)
        )
        keep(k, moments, mean, variance, channel, count)


KERNELS = {"folding.fold": write_fold}
