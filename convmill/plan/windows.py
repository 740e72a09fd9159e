"""Where windows lie along one axis of an image: padding, and the places that each output reads."""

from __future__ import annotations

import math
from typing import Literal

from convmill.plan.outline import Span


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis so that ceil(size / stride) windows fit.

    As in TensorFlow, and in XLA's "SAME": an odd zero goes after.
    """
    windows = math.ceil(size / stride)
    total = max((windows - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def transposed_spans(
    size: int, written: int, window: int, stride: int, padding: Literal["valid", "same"]
) -> tuple[Span, ...]:
    """Input places that each output place of a transposed convolution reads.

    Input place j spreads over outputs ``j * stride - before`` and the ``window - 1`` after it.
    """
    before = max(window - stride, 0) // 2 if padding == "same" else 0
    spans: list[Span] = []
    for place in range(written):
        last = (place + before) // stride
        first = math.ceil((place + before - window + 1) / stride)
        first, last = max(first, 0), min(last, size - 1)
        spans.append((first, last) if first <= last else None)
    return tuple(spans)


def adaptive_spans(size: int, written: int) -> tuple[Span, ...]:
    """Input places that each output place of an adaptive pooling reads: from the place at its share
    of the axis to the one before the next output place's share, parts of places included."""
    return tuple(
        (place * size // written, -(-(place + 1) * size // written) - 1) for place in range(written)
    )


def resampled_spans(
    size: int, factor: int, interpolation: Literal["nearest", "bilinear"]
) -> tuple[Span, ...]:
    """Input places that each output place of an upsampling by ``factor`` reads.

    Bilinear sampling has its points at the centres of pixels, as Keras' does.
    """
    spans: list[Span] = []
    for place in range(size * factor):
        if interpolation == "nearest":
            spans.append((place // factor, place // factor))
            continue
        point = (place + 0.5) / factor - 0.5
        first, last = math.floor(point), math.ceil(point)
        spans.append((min(max(first, 0), size - 1), min(max(last, 0), size - 1)))
    return tuple(spans)
