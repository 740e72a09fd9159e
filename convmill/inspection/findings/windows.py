"""Rules on windows: what they never read, what they read in vain, and where they do not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from convmill.design.steps import Step
from convmill.inspection.findings.finding import Facts, Finding
from convmill.inspection.numbers import percent, plural, times
from convmill.plan.reads import Windows

LEAST_DROPPED = 0.05  # of the places of a map
MOSTLY_PADDING = 0.5  # of the products of a convolution
# What the reason of a dead end says where a window, or its dilation, is larger than the map.
TOO_SMALL = ("is larger than the", "size would be zero or negative")


@dataclass(frozen=True)
class _Reading:
    """How the windows of one axis lie on a map of ``size`` places.

    ``skipped`` counts places that nothing reads because windows, or their taps, lie apart, the gap
    behind the last window included; ``edges`` the others before and after all windows, zeros of a
    padding layer left out. ``padded`` is the share of the taps, over all windows, that lie beside
    the map.
    """

    size: int
    skipped: int
    edges: int
    padded: float


def _reading(size: int, windows: int, spec: Windows, axis: int, zeros: tuple[int, int]) -> _Reading:
    """``zeros`` counts the places that a padding layer put before and after the map."""
    taps = [
        start * spec.strides[axis] - spec.padding[2 * axis] + tap * spec.dilation[axis]
        for start in range(windows)
        for tap in range(spec.size[axis])
    ]
    read = {place for place in taps if 0 <= place < size}
    first, end = (min(read), max(read) + 1) if read else (size, size)
    head, tail = max(first - zeros[0], 0), max(size - end - zeros[1], 0)
    gap = min(tail, max(spec.strides[axis] - spec.extent[axis], 0))
    on_map = sum(0 <= place < size for place in taps)
    return _Reading(
        size=size,
        skipped=end - first - len(read) + gap,
        edges=head + tail - gap,
        padded=1 - on_map / len(taps),
    )


def _readings(facts: Facts) -> Iterator[tuple[Step, Windows, tuple[_Reading, _Reading]]]:
    """Convolutions and pooling layers with how their rows and columns lie on what they read."""
    for step in facts.design.steps:
        spec = step.reads
        if step.kind not in ("convolution", "pooling") or not isinstance(spec, Windows):
            continue
        sizes, counts, zeros = step.read[0], step.shape, _zeros(facts.source(step))
        rows = _reading(sizes[0], counts[0], spec, 0, zeros[:2])
        columns = _reading(sizes[1], counts[1], spec, 1, zeros[2:])
        yield step, spec, (rows, columns)


def _zeros(step: Step) -> tuple[int, int, int, int]:
    """Rows and columns (top, bottom, left, right) that are zeros where ``step`` is zero padding."""
    if step.kind != "shape" or not isinstance(step.reads, Windows):
        return (0, 0, 0, 0)
    top, bottom, left, right = step.reads.padding  # less than 0 where it crops
    return max(top, 0), max(bottom, 0), max(left, 0), max(right, 0)


def skipped_places(facts: Facts) -> Iterator[Finding]:
    """Places between windows that none of them reads: strides larger than the kernel, or one that
    meets the holes of a dilation.

    He, Zhang, Zhang, Zhang, Xie and Li (Bag of Tricks, CVPR 2019, section 4) mend this in ResNet,
    whose 1x1 convolutions with stride 2 ignore three quarters of the map. The threshold is one
    place.
    """
    for step, spec, axes in _readings(facts):
        share = 1 - math.prod(1 - axis.skipped / axis.size for axis in axes)
        if share:
            yield Finding(
                layer=step.name,
                number=share,
                unit="share of the places of its input",
                what=f"{percent(share)} of the {times([axis.size for axis in axes])} places that "
                f"{step.name} is given are never read: windows of {_window(spec)} move by "
                f"{times(spec.strides)}.",
                why="What lies there is lost to this layer, whatever its weights are, and was "
                "computed in vain where nothing else reads it.",
                remedy="Use a window at least as large as the stride (and no dilation with it), "
                "or pool before it.",
                threshold="any place between windows",
                source="He et al. 2019, Bag of Tricks, section 4 (ResNet-D)",
            )


def dropped_border(facts: Facts) -> Iterator[Finding]:
    """Rows and columns at the edge that no window reads: at least 5 % of the map's places.

    Where sizes do not divide, windows end before the map does (Dumoulin and Visin, 2016, A guide to
    convolution arithmetic, relationship 6). The threshold is ours: a twentieth.
    """
    for step, spec, axes in _readings(facts):
        share = 1 - math.prod(1 - axis.edges / axis.size for axis in axes)
        if share >= LEAST_DROPPED:
            rows, columns = (axis.edges for axis in axes)
            left = [plural(rows, "row")] * bool(rows) + [plural(columns, "column")] * bool(columns)
            yield Finding(
                layer=step.name,
                number=share,
                unit="share of the places of its input",
                what=f"{percent(share)} of what {step.name} is given is dropped: windows of "
                f"{_window(spec)} by {times(spec.strides)} leave {' and '.join(left)} of "
                f"{times([axis.size for axis in axes])} unread.",
                why="What lies at that edge cannot change the result, and whatever computed it did "
                "so in vain.",
                remedy='Use padding="same" here, or pad before it, so that the windows reach all '
                "of the map.",
                threshold=f"at least {percent(LEAST_DROPPED)} of the places (our choice)",
                source="Dumoulin and Visin 2016, A guide to convolution arithmetic",
            )


def mostly_padding(facts: Facts) -> Iterator[Finding]:
    """At least half of a convolution's products are with the zeros of its own padding.

    A 3x3 kernel on a map of 1x1 uses one weight of nine, and learns one. Border effects: Chollet
    (2021, section 8.1.1). The threshold is ours: half.
    """
    for step, spec, axes in _readings(facts):
        share = 1 - math.prod(1 - axis.padded for axis in axes)
        if step.kind == "convolution" and share >= MOSTLY_PADDING:
            yield Finding(
                layer=step.name,
                number=share,
                unit="share of the products of one channel",
                what=f"{percent(share)} of the products of {step.name} are with zeros of the "
                f"padding: a window of {_window(spec)} on a map of "
                f"{times([axis.size for axis in axes])}.",
                why="Weights that mostly meet padding learn little and cost as much as others.",
                remedy="Use a smaller kernel here, or shrink the map less before it.",
                threshold=f"at least {percent(MOSTLY_PADDING)} of the products (our choice)",
                source="Chollet 2021, Deep Learning with Python, section 8.1.1, on border effects",
            )


def dead_end(facts: Facts) -> Iterator[Finding]:
    """A layer that cannot be applied to what is left of the image at its place.

    Without padding a window of k makes a map of n - k + 1 (Dumoulin and Visin, 2016, relationship
    1); no map is smaller than one place, which is the threshold.
    """
    end = facts.design.dead_end
    if end is None:
        return
    left = facts.design.steps[-1].shape
    too_small = len(left) == 3 and any(sign in end.reason for sign in TOO_SMALL)
    remedy = (
        'Use padding="same", a smaller kernel, fewer layers that shrink the map, or a larger image.'
        if too_small
        else f"Change {end.layer}, or what it is given, so that it can read {times(left)}."
    )
    yield Finding(
        layer=end.layer,
        number=min(left[:2], default=1),
        unit="places on the shorter side of what is left of the image",
        what=f"{times(left)} is what is left of the image at {end.layer}, where the shapes end: "
        f"{end.reason.rstrip('.')}.",
        why="The model cannot be built for this input.",
        remedy=remedy,
        threshold="no place left" if too_small else "a layer that cannot read its input",
        source="Dumoulin and Visin 2016, A guide to convolution arithmetic",
    )


def _window(spec: Windows) -> str:
    dilated = f" (dilated by {times(spec.dilation)})" if max(spec.dilation) > 1 else ""
    return f"{times(spec.size)}{dilated}"
