"""Activation maximization: images that a filter answers to as strongly as it can.

Erhan, Bengio, Courville and Vincent, "Visualizing higher-layer features of a deep network", 2009;
with the penalty on strong pixels of Simonyan, Vedaldi and Zisserman, "Deep inside convolutional
networks", 2014, and the blur of Yosinski et al., "Understanding neural networks through deep
visualization", 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.limits import STEPS
from convmill.plan.calls import Call
from convmill.plan.pixels import PixelRange, pixel_range
from convmill.view.gradient import gradient
from convmill.view.layers import (
    CONVOLUTION,
    check_channels_last,
    check_one_input,
    find,
    has_units,
    image_shape,
    is_convolution,
)
from convmill.view.logits import model_to_logits
from convmill.view.sheet import BODY, sheet
from convmill.view.style import GREY, Picture, channels_said, grey_or_colours
from convmill.view.text import figure, range_said
from convmill.view.tiles import draw_tiles, grid
from convmill.whole import check_whole

FIRST = 16
MIDDLE = 0.5  # grey; pixels are 0..1 here, whatever the model reads
NOISE = 0.02  # standard deviation about grey to begin with
GRAINS = 13  # noise for a filter that no gradient comes from is blurred 0 to 12 times
RATE = 0.04  # root mean square over the pixels of one step
DECAY = 0.02  # the share by which each step draws pixels back to grey
BLUR = (1 / 8, 6 / 8, 1 / 8)  # every second step, along both axes
SHARP_STEPS = 12  # the last steps, without blur

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Maximized:
    """Images found for ``filters`` of ``layer``.

    ``images``: (n, height, width, channels) or (n, height, width), from 0 to 1 whatever range the
    model reads, which is ``pixels``. ``before`` and ``after``: (n,), each filter's mean activation
    over the noise and over its image; of a softmax or a sigmoid, which ``activation`` then names,
    what goes into it.
    """

    layer: str
    filters: tuple[int, ...]
    images: Array
    before: Array
    after: Array
    pixels: PixelRange
    activation: str = ""


def activation_maximization(
    model: Any,
    layer: str | None = None,
    *,
    filters: Sequence[int] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    pixels: Any = None,
    dark: bool = False,
) -> Picture:
    """For each filter an image that raises its mean activation, found as ``maximize`` does.

    Units of a softmax or a sigmoid are looked at before it: behind it all come near to 1.

    Args:
        model: any built Keras model of one input that says the size of its images.
        layer: name of a layer that writes a feature map or a row of units; None takes the first
            convolution.
        filters: which channels or units; None takes the first 16.
        steps: steps of gradient ascent.
        seed: of the noise to begin with; the same seed gives the same picture.
        pixels: the darkest and the brightest pixel that the model reads, as (-1, 1), or two lists
            of one number for each channel; None takes 0 and 255 where a layer of the model, or
            arithmetic before its first one, scales them, else 0 and 1. The caption says which.
        dark: draws on a dark ground.

    Raises:
        TypeError: ``model`` is no Keras model.
        ValueError: no such layer or filter, no step, a negative seed, no such range of
            pixels, or a model that reads no images.
    """
    found = maximize(model, layer, filters=filters, steps=steps, seed=seed, pixels=pixels)
    tiles = [grey_or_colours(image) for image in found.images]
    labels = [str(index) for index in found.filters]
    notes = [figure(mean, 2) if mean else "silent" for mean in found.after.tolist()]
    places = grid(len(tiles), tiles[0].shape, labels=labels, notes=notes)
    with sheet(places.height, _title(found), _caption(found, steps), dark=dark) as page:
        axes = page.axes(0, 0, BODY, places.height)
        draw_tiles(axes, places, tiles, labels, notes, cmap=GREY, vmin=0.0, vmax=1.0)
    return page.picture


def _title(found: Maximized) -> str:
    before = f", before its {found.activation}" if found.activation else ""
    return f"What excites {found.layer}{before}"


def _caption(found: Maximized, steps: int) -> str:
    channels = channels_said(found.images.shape[1:])
    value = f"value before the {found.activation}" if found.activation else "activation"
    return (
        f"Above each image: the filter or unit and, at the right, its mean {value} over it, after "
        f"{steps} steps of gradient ascent from faint noise on grey, or from stronger noise where "
        "it does not answer that. Where a pixel does not matter it stays grey. "
        f"{range_said(found.pixels)}"
    ) + (f" Drawn of each image: {channels}." if channels else "")


def maximize(
    model: Any,
    layer: str | None = None,
    *,
    filters: Sequence[int] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    pixels: Any = None,
) -> Maximized:
    """Gradient ascent on each filter's mean activation, all filters at once, one image for each.

    It begins with faint noise on grey. Every step moves an image along its gradient, scaled to a
    root mean square of 0.04 (pixels lie in 0..1), draws pixels back to grey by 2 %, and clips them;
    every second step but the last dozen blurs a little (shares of 1, 6 and 1 in 8). A step that
    would silence a filter is not taken. In the first half of the steps an image that no gradient
    reaches, since the filter answers nothing of it, is replaced by other noise, coarser and
    stronger; the image of a filter that stays silent is grey.

    Arguments and errors are those of ``activation_maximization``.
    """
    steps, seed = check_whole("steps", steps, 1), check_whole("seed", seed, 0)
    check_one_input(model)
    call = _find(model, layer)
    chosen = _chosen(filters, call.shape[-1])
    shape = image_shape(model)
    read = pixel_range(model, pixels, *shape[2:])
    ending, activation = model_to_logits(model, call.name)
    compute = gradient(ending, _sum_of_own_means(chosen, call.shape))
    noise = np.random.default_rng(seed)

    def measured(images: Array) -> tuple[Array, Array]:
        found, slopes = compute(read.scaled(images))
        means = found.reshape(len(images), -1, found.shape[-1]).mean(axis=1)
        return means[np.arange(len(chosen)), list(chosen)], slopes * read.span  # of 0..1

    images, before = _ascend(measured, (len(chosen), *shape), steps, noise)
    after = measured(images)[0]
    images[after == 0] = MIDDLE
    return Maximized(call.name, chosen, images, before, after, read, activation)


def _find(model: Any, layer: str | None) -> Call:
    if layer is None:
        call = find(model, None, is_convolution, CONVOLUTION)
    else:
        call = find(model, layer, has_units, "layer of filters or units")
    check_channels_last(call)
    return call


def _chosen(filters: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if filters is None:
        return tuple(range(min(FIRST, count)))
    if not isinstance(filters, Iterable):
        raise ValueError(f"filters must list whole numbers, as [0, 5]. Received: filters={filters}")
    chosen = tuple(check_whole("filters", index, 0, count - 1) for index in filters)
    if not chosen:
        raise ValueError("filters must name at least one filter. Received: none")
    return chosen


def _sum_of_own_means(chosen: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """The score: over the batch, the sum of what each image is to raise."""
    own = np.eye(shape[-1], dtype=np.float32)[list(chosen)]  # (n, filters), one 1 in each row
    places = tuple(range(1, len(shape)))

    def score(outputs: Any) -> Any:
        means = keras.ops.mean(outputs, axis=places) if places else outputs
        return keras.ops.sum(keras.ops.multiply(means, own))  # PyTorch takes no arrays for *

    return score


def _ascend(
    measured: Callable[[Array], tuple[Array, Array]],
    shape: tuple[int, ...],
    steps: int,
    noise: np.random.Generator,
) -> tuple[Array, Array]:
    """Images of ``shape`` (n, ...) at the end of the ascent; what was measured at its start."""
    images = (MIDDLE + NOISE * noise.standard_normal(shape)).astype(np.float32)
    before, slopes = measured(images)
    for step in range(steps):
        silent = _silent(slopes)
        moved = _moved(images, slopes, blur=step % 2 == 0 and step < steps - SHARP_STEPS)
        if step < steps // 2:
            moved[silent] = _other_noise(noise, images[silent].shape)
        _, further = measured(moved)
        kept = _silent(further) & ~silent
        images = np.where(_each(kept, images), images, moved)
        slopes = np.where(_each(kept, slopes), slopes, further)
    return images, before


def _silent(slopes: Array) -> NDArray[np.bool_]:
    """Which images no gradient reaches."""
    return np.logical_not(slopes.reshape(len(slopes), -1).any(axis=1))


def _each(flags: NDArray[np.bool_], images: Array) -> NDArray[np.bool_]:
    """One flag an image, in a shape that fits all of its pixels."""
    return flags.reshape(-1, *[1] * (images.ndim - 1))


def _moved(images: Array, slopes: Array, blur: bool) -> Array:
    """One step of the ascent."""
    pixels = tuple(range(1, images.ndim))
    size = np.sqrt(np.mean(np.square(slopes), axis=pixels, keepdims=True))
    moved = images + RATE * slopes / np.where(size > 0, size, 1)
    moved += DECAY * (MIDDLE - moved)
    if blur:
        moved = _blurred(moved)
    return moved.clip(0, 1).astype(np.float32)


def _other_noise(noise: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Images (n, ...) of any brightness and contrast, of one grain."""
    values = noise.standard_normal(shape)
    for _ in range(noise.integers(GRAINS)):
        values = _blurred(values)
    each = (shape[0], *[1] * (len(shape) - 1))
    level, contrast = noise.uniform(0, 1, each), noise.uniform(0, 1, each)
    spread = values.std() if values.size else 1.0
    return (level + contrast * values / spread).clip(0, 1).astype(np.float32)


def _blurred(images: NDArray[Any]) -> NDArray[Any]:
    """(n, height, width, ...), each pixel with a share of its neighbours along both axes."""
    for axis in (1, 2):
        ends = [(1, 1) if one == axis else (0, 0) for one in range(images.ndim)]
        padded = np.pad(images, ends, mode="edge")
        size = images.shape[axis]
        first, middle, last = (np.take(padded, range(at, at + size), axis) for at in range(3))
        images = BLUR[0] * first + BLUR[1] * middle + BLUR[2] * last
    return images
