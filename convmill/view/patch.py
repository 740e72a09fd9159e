"""The numbers of one convolution at one place: a window, a kernel, their products, the sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.plan.describe import describe
from convmill.plan.outline import Windows
from convmill.plan.walk import Call
from convmill.view.activations import inputs_of, outputs
from convmill.view.filters import kernels_of, values_of
from convmill.view.images import one_image
from convmill.view.layers import find, is_convolution, model_to
from convmill.whole import check_whole, is_whole

Array = NDArray[np.float64]
MULTIPLIED = ("pointwise_kernel", "depth_multiplier", "output_padding")  # of other convolutions


@dataclass(frozen=True)
class Patch:
    """One place of one filter's response map, and all the numbers that it comes from.

    ``read`` is the channel that the kernel reads, (height, width), and ``written`` the response
    map. ``window``, ``inside`` (False where the window lies in the padding), ``kernel`` and
    ``products`` are (kernel height, kernel width), of that one channel; ``rows`` and ``columns``
    are the pixels that the window's rows and columns lie on; ``padding`` is (top, bottom, left,
    right). ``others`` sums the products over the
    ``other_channels`` that the filter reads. ``total`` is all of them with the bias, before the
    activation.
    """

    layer: str
    filter: int
    channel: int
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
    channel: int = 0,
) -> Patch:
    """The numbers behind one place of one response map; see ``patches.patches`` for the arguments.

    The response map is the model's own output; the products are computed here, in float64.

    Raises:
        ValueError: no such layer, filter, place or channel, or an image of another shape.
    """
    call = find(model, layer, _is_plain, "Conv2D")
    pixels = one_image(model, image)
    reads = _windows(model, pixels.shape[1:], call.name)
    maps = outputs(model_to(model, call.name), pixels)[0].astype(np.float64)
    kernels = kernels_of(call.layer)
    place = _checked(filter, channel, place, kernels.shape[2], maps)
    kernel, written = kernels[..., filter].astype(np.float64), maps[..., filter]
    read = _group(inputs_of(model, pixels, call.name)[0], kernel, maps.shape[2], filter)
    rows, columns = _taps(reads, place)
    window, inside = _gathered(read, rows, columns)
    sums = (window * kernel).sum(axis=(0, 1))
    return Patch(
        layer=call.name,
        filter=filter,
        channel=channel,
        place=place,
        rows=rows,
        columns=columns,
        padding=reads.padding,
        read=read[..., channel],
        written=written,
        window=window[..., channel],
        inside=inside,
        kernel=kernel[..., channel],
        others=float(np.delete(sums, channel).sum()),
        other_channels=len(sums) - 1,
        bias=_bias(call.layer, filter),
        activation=getattr(call.layer.activation, "__name__", "activation"),
    )


def _is_plain(call: Call) -> bool:
    return is_convolution(call) and not any(hasattr(call.layer, name) for name in MULTIPLIED)


def _windows(model: Any, shape: tuple[int, ...], layer: str) -> Windows:
    """How the layer's windows lie on what it reads; ValueError where it has no such windows."""
    reads = describe(model, shape).step(layer).reads
    if not isinstance(reads, Windows):
        raise ValueError(
            f"layer must be a convolution over (height, width, channels) with padding 'valid' or "
            f"'same'. Received: layer={layer!r}."
        )
    return reads


def _checked(filter: int, channel: int, place: Any, channels: int, maps: Array) -> tuple[int, int]:
    """The place, that of the strongest response for None; ValueError where one of them is none."""
    height, width, filters = maps.shape
    check_whole("filter", filter, 0, filters - 1)
    check_whole("channel", channel, 0, channels - 1)
    if place is None:
        return _strongest(maps[..., filter])
    given = tuple(place) if np.ndim(place) == 1 else ()
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


def _group(read: Any, kernel: Array, filters: int, filter: int) -> Array:
    """The channels that a filter reads: all, or those of its group."""
    channels = kernel.shape[2]
    group = filter // (filters // (read.shape[2] // channels))
    found: Array = read[..., group * channels : (group + 1) * channels].astype(np.float64)
    return found


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
