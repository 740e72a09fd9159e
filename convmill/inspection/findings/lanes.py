"""A rule on the width of this machine's vectors."""

from __future__ import annotations

from collections.abc import Iterator

from convmill.design.steps import Step
from convmill.inspection.findings.finding import Facts, Finding
from convmill.inspection.numbers import percent
from convmill.plan.reads import Whole

IDLE_SHARE = 0.25  # of the lanes
WORTH_WHILE = 0.05  # of the model's multiply-adds


def idle_lanes(facts: Facts) -> Iterator[Finding]:
    """Filters, or dense units, that leave over a quarter of the vector lanes idle.

    Kernels compute as many filters at once as a vector has lanes, so the last vector of each place
    is partly empty where they do not divide (Georganas et al., Anatomy of High-Performance Deep
    Learning Convolutions on SIMD Architectures, 2018). Layers under 5 % of the model's forward
    multiply-adds are left alone, and the outputs, whose number is not free. Both thresholds are
    ours. Where a layer's arithmetic is not known, no layer's share of it is; where channels are not
    last, neither is what a vector holds.
    """
    if not (facts.design.channels_last and all(step.counted for step in facts.design.steps)):
        return
    work = sum(cost.forward for cost in facts.costs.values())
    for step in facts.design.steps:
        # a depthwise layer's filters are its input's channels: their number is not free
        free = step.is_weighted and step.layer != "DepthwiseConv2D"
        if not free or _gives_output(facts, step):
            continue
        filters, share = step.shape[-1], facts.costs[step.name].forward / max(work, 1)
        full = -(-filters // facts.lanes) * facts.lanes
        if 1 - filters / full > IDLE_SHARE and share >= WORTH_WHILE:
            word = "filters" if step.kind == "convolution" else "units"
            fewer = full - facts.lanes
            below = f", or {fewer} for less" if fewer else ""
            yield Finding(
                layer=step.name,
                number=1 - filters / full,
                unit="share of the vector lanes",
                what=f"{percent(1 - filters / full)} of the vector lanes idle in {step.name}: "
                f"{filters} {word} on vectors of {facts.lanes} float32, in a layer with "
                f"{percent(share)} of the multiply-adds.",
                why="The forward pass computes a vector of them at a time, and an idle lane "
                "takes as long as a busy one.",
                remedy=f"Take {full} {word} for about the same time{below}.",
                threshold=f"over {percent(IDLE_SHARE)} idle, in layers of at least "
                f"{percent(WORTH_WHILE)} of the work (our choice)",
                source="Georganas et al. 2018, Anatomy of High-Performance Deep Learning "
                "Convolutions on SIMD Architectures",
            )


def _gives_output(facts: Facts, step: Step) -> bool:
    """Whether the layer's units are the model's outputs, steps aside that leave their number."""
    return facts.follow(step, _keeps_units).name in facts.design.outputs


def _keeps_units(step: Step) -> bool:
    pooled_globally = step.kind == "pooling" and isinstance(step.reads, Whole)
    return step.is_elementwise or step.kind == "shape" or pooled_globally
