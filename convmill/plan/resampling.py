"""Along one axis of an image: which places each place of a resampled one reads, and their weights.

As jax.image computes them: points lie at the centres of pixels, and the weights of what is inside
the image sum up to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convmill.plan.graph.moves import Resample, Upsample
from convmill.plan.graph.operations import AdaptivePooling
from convmill.plan.windows import Span, adaptive_spans

Weights = tuple[float, ...]
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
LEAST_SUM = 1000 * 2.0**-23  # of weights: below, an output is zero


@dataclass(frozen=True)
class Taps:
    """For each place that is written the first place that it reads, and the weights of that one and
    those behind it: as many for each, zeros among them."""

    starts: tuple[int, ...]
    weights: tuple[Weights, ...]

    @property
    def count(self) -> int:
        """Places that each one reads."""
        return len(self.weights[0])


def taps(size: int, written: int, interpolation: str, antialias: bool = False) -> Taps:
    """From ``size`` places to ``written``, by one of ``INTERPOLATIONS``."""
    if interpolation == "nearest":
        nearest = [(2 * place + 1) * size // (2 * written) for place in range(written)]
        return _gathered(size, [{read: 1.0} for read in nearest])
    rows = [_row(size, written, interpolation, antialias, place) for place in range(written)]
    return _gathered(size, rows)


def means(size: int, written: int) -> Taps:
    """Those of an adaptive average pooling."""
    spans = filter(None, adaptive_spans(size, written))
    rows = [dict.fromkeys(range(first, last + 1), 1 / (last - first + 1)) for first, last in spans]
    return _gathered(size, rows)


def transposed(given: Taps, size: int) -> Taps:
    """Which written places read each of ``size`` places, by the same weights."""
    rows: list[dict[int, float]] = [{} for _ in range(size)]
    for place, (start, weights) in enumerate(zip(given.starts, given.weights, strict=True)):
        for tap, weight in enumerate(weights):
            if weight:
                rows[start + tap][place] = weight
    return _gathered(len(given.starts), rows)


def spans(given: Taps) -> tuple[Span, ...]:
    """The first and the last place that each place reads."""
    found: list[Span] = []
    for start, weights in zip(given.starts, given.weights, strict=True):
        read = [start + tap for tap, weight in enumerate(weights) if weight]
        found.append((read[0], read[-1]) if read else None)
    return tuple(found)


def taps_of(
    operation: Upsample | Resample | AdaptivePooling, read: Sequence[int], written: Sequence[int]
) -> tuple[Taps, Taps]:
    """Those of rows and of columns, from an image of (height, width, ...) to another."""
    axes = tuple(zip(read[:2], written[:2], strict=True))
    match operation:
        case Upsample(_, interpolation):
            rows, columns = (taps(*axis, interpolation) for axis in axes)
        case Resample(interpolation, antialias, border):
            rows, columns = (
                _moved(taps(size - before - after, goal, interpolation, antialias), before)
                for (size, goal), before, after in zip(axes, border[::2], border[1::2], strict=True)
            )
        case AdaptivePooling():
            rows, columns = (means(*axis) for axis in axes)
    return rows, columns


def _moved(given: Taps, places: int) -> Taps:
    """The same in an image that begins so many places earlier."""
    return Taps(tuple(start + places for start in given.starts), given.weights)


def _gathered(size: int, rows: Sequence[dict[int, float]]) -> Taps:
    """Taps from the weights of each place, by the place that is read."""
    count = max(1, *(max(row) - min(row) + 1 for row in rows if row), 1)
    starts = [min(min(row, default=0), size - count) for row in rows]
    weights = (
        tuple(row.get(start + tap, 0.0) for tap in range(count))
        for start, row in zip(starts, rows, strict=True)
    )
    return Taps(tuple(starts), tuple(weights))


def _row(
    size: int, written: int, interpolation: str, antialias: bool, place: int
) -> dict[int, float]:
    """The weights of one place, by the place that is read."""
    radius, kernel = _KERNELS[interpolation]
    ratio = size / written
    wide = max(ratio, 1.0) if antialias else 1.0
    point = (place + 0.5) * ratio - 0.5
    first = max(math.ceil(point - radius * wide), 0)
    last = min(math.floor(point + radius * wide), size - 1)
    found = {read: kernel(abs(point - read) / wide) for read in range(first, last + 1)}
    total = math.fsum(found.values())
    if abs(total) <= LEAST_SUM or not -0.5 <= point <= size - 0.5:
        return {}
    return {read: weight / total for read, weight in found.items() if weight}


def _triangle(x: float) -> float:
    return max(0.0, 1 - x)


def _cubic(x: float) -> float:
    """R. G. Keys (1981), with a = -0.5."""
    if x >= 2:
        return 0.0
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x >= 1 else ((1.5 * x - 2.5) * x) * x + 1


def _lanczos(radius: float) -> Callable[[float], float]:
    def kernel(x: float) -> float:
        if x > radius:
            return 0.0
        if x <= 1e-3:
            return 1.0
        high = radius * math.sin(math.pi * x) * math.sin(math.pi * x / radius)
        return high / (math.pi * x) ** 2

    return kernel


_KERNELS: dict[str, tuple[float, Callable[[float], float]]] = {
    "bilinear": (1, _triangle),
    "bicubic": (2, _cubic),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
}
