"""The kernels of a convolution: what each filter multiplies the pixels of its window by."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.view.images import check_finite
from convmill.view.layers import CONVOLUTION, calls, find, is_convolution
from convmill.view.sheet import BAR, BODY, sheet
from convmill.view.style import (
    COLOURS,
    DIVERGING,
    SMALL_SIZE,
    Picture,
    bare,
    frame,
    framed,
    symmetric,
)
from convmill.view.text import figure
from convmill.view.tiles import draw_tiles, grid
from convmill.whole import check_whole

MOST_FILTERS = 64
MOST_BY_CHANNEL = 16
# Inches left of and above rows and columns, for their numbers and names.
ROW_NAMES, COLUMN_NAMES = 0.55, 0.4
NUMBER_ROOM = 0.22
LARGEST_CELL, TALLEST = 0.6, 7.0
UNGROUPED, GROUPED = "channel of the input", "channel of its group"  # what columns are
SIGNS = "Blue weights are negative, red ones positive, white is 0; one scale for all."

Kernels = NDArray[np.float32]


def filters(
    model: Any, layer: str | None = None, *, channel: int | None = None, dark: bool = False
) -> Picture:
    """The kernels of a convolution as a grid of small images.

    One channel in: one kernel for each filter. Three channels in at the first convolution: as
    colours, grey for 0. More channels in: a row for each filter, a column for each channel. At
    most 64 filters are shown, 16 where rows and columns are taken; the caption counts the others.

    Args:
        model: any built Keras model, of several inputs too.
        layer: name of a convolution over images; None takes the first. A separable convolution is
            shown as the one kernel that its two make together.
        channel: shows the kernels over this one channel of the layer's input; of a grouped
            convolution, over this one of each filter's own group, counted from 0.
        dark: draws on a dark ground.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: ``model`` is not built; no such layer or channel; weights that are not finite.
    """
    call = find(model, layer, is_convolution, CONVOLUTION)
    kernels = kernels_of(call.layer)
    channels, count = kernels.shape[2:]
    if channel is not None:
        check_whole("channel", channel, 0, channels - 1)
        kernels = kernels[:, :, channel : channel + 1]
    title = f"Filters of {call.name}"
    grouped = getattr(call.layer, "groups", 1) > 1
    read = plural(channels, "channel") if channel is None else f"channel {channel} of {channels}"
    read += " of their group" if grouped else ""
    what = f"{plural(count, 'kernel')} of {kernels.shape[0]}×{kernels.shape[1]} over {read}"
    if kernels.shape[2] == 1:
        return _one_channel(kernels[:, :, 0], title, what, dark)
    if channels == COLOURS and not grouped and call.name == _first_convolution(model):
        return _in_colours(kernels, title, what, dark)
    return _by_channel(kernels, GROUPED if grouped else UNGROUPED, title, what, dark)


def kernels_of(layer: Any) -> Kernels:
    """The kernels of a convolution, (height, width, channels read, filters).

    Of a depthwise convolution each filter reads one channel; the two kernels of a separable one
    are multiplied into one; a transposed one's are turned to the order of the others.

    Raises:
        ValueError: they are not finite.
    """
    kernels = _turned(layer)
    demand = f"layer {layer.name!r} must hold finite weights"
    check_finite(np.moveaxis(kernels, -1, 0), demand, "filters")
    return kernels


def _turned(layer: Any) -> Kernels:
    """The kernels in our order of axes."""
    if hasattr(layer, "pointwise_kernel"):
        depthwise, pointwise = map(values_of, (layer.depthwise_kernel, layer.pointwise_kernel))
        each = pointwise[0, 0].reshape(*depthwise.shape[2:], -1)  # channel, multiplier, filter
        return np.einsum("hwcm,cmf->hwcf", depthwise, each)
    kernel = values_of(layer.kernel)
    if hasattr(layer, "depth_multiplier"):
        return kernel.reshape(*kernel.shape[:2], 1, -1)
    if hasattr(layer, "output_padding"):
        return kernel.swapaxes(2, 3)
    return kernel


def values_of(variable: Any) -> Kernels:
    """The numbers of a weight."""
    tensor = keras.ops.convert_to_tensor(variable)  # NumPy warns of how Keras converts variables
    return np.asarray(keras.ops.convert_to_numpy(tensor), dtype=np.float32)


def _first_convolution(model: Any) -> str:
    return next(name for name, call in calls(model).items() if is_convolution(call))


def _left_out(shown: int, every: int, what: str) -> str:
    """ " The first 64 of 256 filters are shown.", or nothing where none is left out."""
    return f" The first {shown} of {every} {what} are shown." if shown < every else ""


# The three kinds of grid ------------------------------------------------------------------------


def _one_channel(kernels: Kernels, title: str, what: str, dark: bool) -> Picture:
    """``kernels``: (height, width, filters)."""
    every = kernels.shape[2]
    tiles = list(kernels.transpose(2, 0, 1)[:MOST_FILTERS])
    places = grid(len(tiles), kernels.shape)
    scale = {"cmap": DIVERGING} | symmetric(np.array(tiles))
    caption = f"{what}. {SIGNS}{_left_out(len(tiles), every, 'filters')}"
    with sheet(places.height + BAR, title, caption, dark=dark) as page:
        axes = page.axes(0, 0, BODY, places.height)
        image = draw_tiles(axes, places, tiles, _numbers(tiles), **scale)
        page.colour_bar(image, places.height, "weight")
    return page.picture


def _in_colours(kernels: Kernels, title: str, what: str, dark: bool) -> Picture:
    """``kernels``: (height, width, 3, filters); each weight as the brightness of its colour."""
    every = kernels.shape[3]
    kernels = kernels[..., :MOST_FILTERS]
    largest = float(np.abs(kernels).max()) or 1.0
    tiles = list((0.5 + kernels / (2 * largest)).transpose(3, 0, 1, 2))
    places = grid(len(tiles), kernels.shape)
    caption = (
        f"{what}, red, green and blue as in the image: grey is 0, no brightness "
        f"{figure(-largest, 2)}, full brightness {figure(largest, 2)}."
        f"{_left_out(len(tiles), every, 'filters')}"
    )
    with sheet(places.height, title, caption, dark=dark) as page:
        draw_tiles(page.axes(0, 0, BODY, places.height), places, tiles, _numbers(tiles))
    return page.picture


def _numbers(tiles: list[Kernels]) -> list[str]:
    return [str(index) for index in range(len(tiles))]


def _by_channel(kernels: Kernels, columns_are: str, title: str, what: str, dark: bool) -> Picture:
    """``kernels``: (height, width, channels, filters); rows are filters, columns channels."""
    height, width, channels, every = kernels.shape
    most = MOST_FILTERS if (height, width) == (1, 1) else MOST_BY_CHANNEL
    kernels = kernels[:, :, :most, :most]
    columns, rows = kernels.shape[2:]
    left_out = _left_out(rows, every, "filters") + _left_out(columns, channels, "channels")
    cell = min((BODY - ROW_NAMES) / columns, TALLEST / rows * width / height, LARGEST_CELL)
    body = COLUMN_NAMES + cell * rows * height / width
    with sheet(body + BAR, title, f"{what}. {SIGNS}{left_out}", dark=dark) as page:
        axes = page.axes(ROW_NAMES, COLUMN_NAMES, cell * columns, body - COLUMN_NAMES)
        page.colour_bar(_draw_matrix(axes, kernels, cell), body, "weight", left=ROW_NAMES)
        axes.set_xlabel(columns_are, loc="left")
        axes.xaxis.set_label_position("top")
    return page.picture


def _draw_matrix(axes: Axes, kernels: Kernels, cell: float) -> AxesImage:
    """A row of cells, each ``cell`` inches wide, for each filter; in data 1 wide and 1 high."""
    columns, rows = kernels.shape[2:]
    scale: dict[str, Any] = {"cmap": DIVERGING, "aspect": "auto"} | symmetric(kernels)
    if kernels.shape[:2] == (1, 1):
        image = axes.imshow(kernels[0, 0].T, extent=(0, columns, rows, 0), **scale)
    else:
        for row in range(rows):
            for column in range(columns):
                extent = (column + 0.05, column + 0.95, row + 0.95, row + 0.05)
                image = axes.imshow(kernels[:, :, column, row], extent=extent, **scale)
                frame(axes, column + 0.05, row + 0.05, 0.9, 0.9)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    bare(axes)
    if kernels.shape[:2] == (1, 1):
        framed(axes)
    _number_cells(axes.set_xticks, columns, cell)
    _number_cells(axes.set_yticks, rows, cell * kernels.shape[0] / kernels.shape[1])
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labeltop=True, labelbottom=False, pad=1)
    axes.set_ylabel("filter")
    return image


def _number_cells(set_ticks: Any, count: int, inches: float) -> None:
    """Numbers every cell, or every second, fourth ... one where they are small."""
    every = 1
    while every * inches < NUMBER_ROOM:
        every *= 2
    set_ticks([index + 0.5 for index in range(0, count, every)], list(range(0, count, every)))
