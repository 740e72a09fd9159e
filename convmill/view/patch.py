"""The numbers of one convolution at one place: a window, a kernel, their products, the sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.design.steps import design_of
from convmill.plan.calls import Call
from convmill.plan.reads import Windows
from convmill.view.activations import inputs_of, outputs
from convmill.view.filters import Kernels, kernels_of, values_of
from convmill.view.images import one_image
from convmill.view.layers import (
    check_channels_last,
    check_one_input,
    find,
    is_convolution,
    model_to,
)
from convmill.whole import check_whole, is_whole

Array = NDArray[np.float64]
MULTIPLIED = ("pointwise_kernel", "depth_multiplier", "output_padding")  # of other convolutions


@dataclass(frozen=True)
class Patch:
    """One place of one filter's response map, and all the numbers that it comes from.

    ``channel`` is the one shown, of the ``channels`` of the layer's input; ``read`` is that one,
    (height, width), and ``written`` the response map. ``window``, ``inside`` (False where the
    window lies in the padding), ``kernel`` and ``products`` are (kernel height, kernel width), of
    that one channel; ``rows`` and ``columns`` are the pixels that the window's rows and columns lie
    on; ``padding`` is (top, bottom, left, right). ``others`` sums the products over the
    ``other_channels`` that the filter reads, those of its group in a grouped convolution. ``total``
    is all of them with the bias, before the activation.
    """

    layer: str
    filter: int
    channel: int
    channels: int
    place: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    padding: tuple[int, int, int, int]
    read: Array
    written: Array
    window: Array
    inside: NDArray[np.bool_]
    kernel: Array
    others: float
    other_channels: int
    bias: float | None
    activation: str

    @property
    def products(self) -> Array:
        """The window times the kernel, number by number."""
        return self.window * self.kernel

    @property
    def total(self) -> float:
        """What the layer computes before its activation."""
        return float(self.products.sum()) + self.others + (self.bias or 0.0)

    @property
    def response(self) -> float:
        """What the layer writes at the place."""
        return float(self.written[self.place])


def patch(
    model: Any,
    image: Any,
    layer: str | None = None,
    *,
    filter: int = 0,
    place: tuple[int, int] | None = None,
    channel: int | None = None,
) -> Patch:
    """The numbers behind one place of one response map.

    The response map is the model's own output; the products are computed here, in float64.
    Arguments and errors are those of ``patches.patches``.
    """
    check_one_input(model)
    call = find(model, layer, _is_plain, "Conv2D")
    check_channels_last(call)
    pixels = one_image(model, image)
    reads = _windows(model, pixels.shape[1:], call.name)
    kernels = kernels_of(call.layer)
    filter = check_whole("filter", filter, 0, kernels.shape[3] - 1)
    group = _group(call.layer, kernels, filter)
    channel = _checked_channel(channel, group, filter)
    own = group.index(channel)  # among the channels of the kernel
    kernel = kernels[..., filter].astype(np.float64)
    written = outputs(model_to(model, call.name), pixels)[0, ..., filter].astype(np.float64)
    place = _checked_place(place, written)
    read = inputs_of(model, pixels, call.name)[0, ..., group.start : group.stop].astype(np.float64)
    rows, columns = _taps(reads, place)
    window, inside = _gathered(read, rows, columns)
    sums = (window * kernel).sum(axis=(0, 1))
    return Patch(
        layer=call.name,
        filter=filter,
        channel=channel,
        channels=call.read[0][-1],
        place=place,
        rows=rows,
        columns=columns,
        padding=reads.padding,
        read=read[..., own],
        written=written,
        window=window[..., own],
        inside=inside,
        kernel=kernel[..., own],
        others=float(np.delete(sums, own).sum()),
        other_channels=len(sums) - 1,
        bias=_bias(call.layer, filter),
        activation=getattr(call.layer.activation, "__name__", "activation"),
    )


def _is_plain(call: Call) -> bool:
    return is_convolution(call) and not any(hasattr(call.layer, name) for name in MULTIPLIED)


def _windows(model: Any, shape: tuple[int, ...], layer: str) -> Windows:
    """How the layer's windows lie on what it reads; ValueError where it has no such windows."""
    reads = design_of(model, shape).step(layer).reads
    if not isinstance(reads, Windows):
        raise ValueError(
            f"layer must be a convolution over (height, width, channels) with padding 'valid' or "
            f"'same'. Received: layer={layer!r}."
        )
    return reads


def _group(layer: Any, kernels: Kernels, filter: int) -> range:
    """The channels that a filter reads: all, or those of its group."""
    channels, filters = kernels.shape[2:]
    first = filter // (filters // layer.groups) * channels
    return range(first, first + channels)


def _checked_channel(channel: Any, group: range, filter: int) -> int:
    """The channel, the first that the filter reads for None; ValueError for none that it reads."""
    if channel is None:
        return group.start
    if not is_whole(channel) or channel not in group:
        raise ValueError(
            f"channel must be one that filter {filter} reads, a whole number from {group[0]} to "
            f"{group[-1]}. Received: channel={channel!r}"
        )
    return int(channel)


def _checked_place(place: Any, written: Array) -> tuple[int, int]:
    """The place, that of the strongest response for None; ValueError where there is none such."""
    height, width = written.shape
    if place is None:
        return _strongest(written)
    given = tuple(place) if isinstance(place, (tuple, list, np.ndarray)) else ()
    whole = len(given) == 2 and all(map(is_whole, given))
    if not whole or not (0 <= given[0] < height and 0 <= given[1] < width):
        raise ValueError(
            f"place must be a row from 0 to {height - 1} and a column from 0 to {width - 1} "
            f"of the response map. Received: place={place}"
        )
    return int(given[0]), int(given[1])


def _strongest(written: Array) -> tuple[int, int]:
    row, column = divmod(int(written.argmax()), written.shape[1])
    return row, column


def _taps(reads: Windows, place: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows and columns of the input under a window; those in the padding lie outside the input."""
    before = reads.padding[0], reads.padding[2]
    rows, columns = (
        tuple(
            place[axis] * reads.strides[axis] - before[axis] + tap * reads.dilation[axis]
            for tap in range(reads.size[axis])
        )
        for axis in (0, 1)
    )
    return rows, columns


def _gathered(
    read: Array, rows: tuple[int, ...], columns: tuple[int, ...]
) -> tuple[Array, NDArray[np.bool_]]:
    """The window of all channels, zeros in the padding, and which places are inside the image."""
    height, width = read.shape[:2]
    inside = np.array([[0 <= r < height and 0 <= c < width for c in columns] for r in rows])
    window = read[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    return np.where(inside[..., np.newaxis], window, 0.0), inside


def _bias(layer: Any, filter: int) -> float | None:
    return float(values_of(layer.bias)[filter]) if layer.use_bias else None
