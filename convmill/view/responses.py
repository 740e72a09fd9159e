"""Response maps: what each filter of a layer makes of one image, place by place."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from convmill.inspection.numbers import plural
from convmill.limits import MAPS
from convmill.view.activations import outputs
from convmill.view.images import one_image
from convmill.view.layers import (
    CONVOLUTION,
    check_channels_last,
    check_one_input,
    find,
    is_convolution,
    is_map,
    model_to,
)
from convmill.view.sheet import BAR, BODY, LINE, Sheet, sheet
from convmill.view.style import SMALL_SIZE, Picture, channels_said, draw_image
from convmill.view.text import figure
from convmill.view.tiles import Grid, draw_tiles, grid, scale_of
from convmill.whole import check_whole

ENDS = ("vmin", "vmax")
BLOCK = 2  # the image takes as much room as 2x2 maps


def responses(
    model: Any, image: Any, layer: str | None = None, *, most: int = MAPS, dark: bool = False
) -> Picture:
    """The feature map that each filter of a layer makes of one image, and the image beside them.

    Each map has a scale of its own, up to its largest value, which stands above it. The caption
    counts the filters that answer nowhere, and those left out.

    Args:
        model: any built Keras model of one input.
        image: (height, width), (height, width, channels) or (1, height, width, channels), real
            numbers, as the model reads them.
        layer: name of a layer that writes a feature map; None takes the first convolution.
        most: at most so many maps are shown.
        dark: draws on a dark ground.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: no such layer (the nearest are named), an image of another shape, or ``most``
            below 1.
    """
    most = check_whole("most", most, 1)
    check_one_input(model)
    if layer is None:
        call = find(model, None, lambda one: is_convolution(one) and is_map(one), CONVOLUTION)
    else:
        call = find(model, layer, is_map, "layer that writes a feature map")
    check_channels_last(call)
    pixels = one_image(model, image)
    maps = outputs(model_to(model, call.name), pixels)[0]
    tiles = list(maps.transpose(2, 0, 1)[:most])
    largest = [float(np.abs(tile).max()) for tile in tiles]
    relative = scale_of(np.stack(tiles) / (max(largest) or 1.0))  # 0..1, or -1..1
    scales = [{end: relative[end] * (one or 1.0) for end in ENDS} for one in largest]
    labels = [str(index) for index in range(len(tiles))]
    notes = [figure(one, 2) if one else "0" for one in largest]
    places = grid(len(tiles), maps.shape, BLOCK, labels, notes)
    caption = _caption(maps, len(tiles), pixels.shape[1:], signed=relative["vmin"] < 0)
    with sheet(places.height + BAR, f"Responses of {call.name}", caption, dark=dark) as page:
        axes = page.axes(0, 0, BODY, places.height)
        draw_tiles(axes, places, tiles, labels, notes, scales, cmap=relative["cmap"])
        _draw_input(page, places, pixels[0])
        ends = Normalize(relative["vmin"], relative["vmax"])
        colours = ScalarMappable(ends, relative["cmap"])
        page.colour_bar(colours, places.height, "activation / number above the map")
    return page.picture


def _draw_input(page: Sheet, places: Grid, image: Any) -> None:
    """The image, in the free block of the grid."""
    width, height = places.block_size
    page.text(0, 0, f"image, {_size(image.shape)}", fontsize=SMALL_SIZE)
    axes = page.axes(0, LINE, width, height)
    draw_image(axes, image)
    axes.set_anchor("NW")


def _caption(maps: Any, shown: int, image: tuple[int, ...], signed: bool) -> str:
    every = maps.shape[2]
    silent = int(np.sum(np.all(maps <= 0, axis=(0, 1))))
    text = f"{plural(every, 'map')} of {_size(maps.shape)}, each on a scale of its own."
    if silent:
        text += f" {silent} of them {'is' if silent == 1 else 'are'} nowhere above 0."
    text += f" Above each, at the right: its largest value{', signs aside' if signed else ''}."
    if shown < every:
        text += f" The first {shown} are shown."
    channels = channels_said(image)
    return text + (f" Drawn of the image: {channels}." if channels else "")


def _size(shape: Any) -> str:
    return f"{shape[0]}×{shape[1]}"
