"""Operations of a Graph that draw random numbers.

``seed`` counts the calls of the net that draw: the runtime hands one seed to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoiseKind = Literal["sum", "product", "alpha"]
WarpKind = Literal["rotation", "zoom", "translation", "shear"]
ToneKind = Literal["contrast", "brightness"]


@dataclass(frozen=True)
class Dropout:
    """Zeroes a share ``rate`` of the values in training and scales the rest by 1/(1-rate).

    Values along the axes ``shared``, counted from the last, -1, fall together, and those of
    ``one_mask`` in all images of a batch.
    """

    rate: float
    seed: int
    shared: tuple[int, ...] = ()
    one_mask: bool = False


@dataclass(frozen=True)
class Noise:
    """Changes values in training alone, in another way than ``Dropout``, which tells the rest.

    "sum" adds normal numbers of the deviation ``amount``, "product" multiplies by such around one;
    "alpha" has a share ``amount`` of the values take SELU's least one, and keeps mean and variance.
    """

    kind: NoiseKind
    amount: float
    seed: int
    shared: tuple[int, ...] = ()
    one_mask: bool = False


@dataclass(frozen=True)
class Draw:
    """Random numbers for each image, in training and outside it: normal ones of the mean ``first``
    and the deviation ``second``, or uniform ones from the first to below the second."""

    kind: Literal["normal", "uniform"]
    first: float
    second: float
    seed: int


@dataclass(frozen=True)
class Flip:
    """Turns half of the images in training over, along ``rows``, ``columns`` or both at once."""

    rows: bool
    columns: bool
    seed: int


@dataclass(frozen=True)
class Warp:
    """Turns, zooms, moves or shears each image in training, by numbers from ``ranges``: an angle in
    turns; factors of height and width (one: of both); shares of height and width; rows for each
    column and columns for each row, backwards where the number before them is above a half.

    What lies outside is filled: by "constant" ``fill_value``, by the "nearest" pixel, or as images
    ``wrap`` or ``reflect``.
    """

    kind: WarpKind
    ranges: tuple[tuple[float, float], ...]
    interpolation: str
    fill_mode: str
    fill_value: float
    seed: int


@dataclass(frozen=True)
class Tone:
    """In training multiplies the "contrast" of each channel, or adds "brightness" to all values, by
    a number from ``range`` for each image; then holds values to ``limits``."""

    kind: ToneKind
    range: tuple[float, float]
    limits: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class Erase:
    """In training fills a rectangle of an image, by a chance from ``chances`` for each: its height
    and width are shares of the image's whose squares are from ``areas``. It is filled with one
    number for each channel or for all, or with normal numbers times the upper of ``limits``, held
    to both, where ``fill`` is None."""

    chances: tuple[float, float]
    areas: tuple[float, float]
    fill: tuple[float, ...] | None
    limits: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class RandomCrop:
    """In training cuts a window of the node's shape out of each image, at a place that is drawn
    once a step: the same for all images of a batch. It is smaller than the image both ways."""

    seed: int


AUGMENTATIONS = (Flip, Warp, Tone)
# What draws random numbers, and has a ``seed``.
RANDOM = (Dropout, Noise, Draw, RandomCrop, Erase, *AUGMENTATIONS)


def draws_of(operation: object) -> int:
    """How often a call of one of ``RANDOM`` asks Keras for a seed in a step."""
    match operation:
        case Warp(ranges=ranges):
            return len(ranges)
        case RandomCrop():  # a row and a column
            return 2
        case Erase(fill=fill):  # both sizes, two places, two of chance, what it is filled with
            return 5 if fill else 6
    return 1
