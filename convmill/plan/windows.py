"""Where windows lie along one axis of an image: padding, and the places that each output reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convmill.plan.graph.shapes import Border

Span = tuple[int, int] | None  # the first and the last place that an output place reads


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis so that ceil(size / stride) windows fit.

    As in TensorFlow, and in XLA's "SAME": an odd zero goes after.
    """
    windows = math.ceil(size / stride)
    total = max((windows - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def border_of(
    padding: str,
    read: Sequence[int],
    size: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Border:
    """Zeros above, below, left and right of an image of shape ``read`` (height, width, ...) for
    windows with padding "valid" or "same"."""
    if padding == "valid":
        return (0, 0, 0, 0)
    extents = [(size[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    rows, columns = (same_padding(read[axis], extents[axis], strides[axis]) for axis in (0, 1))
    return rows + columns


def transposed_spans(
    size: int, written: int, window: int, stride: int, dilation: int, before: int
) -> tuple[Span, ...]:
    """Input places that each output place of a transposed convolution reads.

    Input place j spreads over outputs ``j * stride + tap * dilation - before``, taps below
    ``window``.
    """
    spans: list[Span] = []
    for place in range(written):
        reached = [place + before - tap * dilation for tap in range(window)]
        read = [at // stride for at in reached if at % stride == 0 and 0 <= at < size * stride]
        spans.append((min(read), max(read)) if read else None)
    return tuple(spans)


def transposed_cut(window: int, stride: int, padding: str, extra: int | None) -> int:
    """Places before the output that Keras cuts from what a transposed convolution spreads along one
    axis; ``window`` counts the holes of its dilation, ``extra`` is ``output_padding``.

    The size of the output says how much is cut in all: with padding "same" the odd place is kept
    before the output.
    """
    if padding == "valid":
        return 0
    beyond = stride + window - 2 if extra is None else window + window % 2 - 2 + extra
    return window - 1 - min(beyond - beyond // 2, window - 1)


def adaptive_spans(size: int, written: int) -> tuple[Span, ...]:
    """Input places that each output place of an adaptive pooling reads: from the place at its share
    of the axis to the one before the next output place's share, parts of places included."""
    return tuple(
        (place * size // written, -(-(place + 1) * size // written) - 1) for place in range(written)
    )


def values_read(spans: tuple[Span, ...]) -> int:
    """How many places all output places together read."""
    return sum(last - first + 1 for first, last in filter(None, spans))
