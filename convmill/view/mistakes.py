"""The images that a classifier gets most wrong, and those it is least sure of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.limits import IMAGES, MOST_IMAGES
from convmill.view.predictions import Predictions, classify
from convmill.view.style import (
    MARGIN,
    NARROW,
    POINTS_PER_INCH,
    SMALL_SIZE,
    WIDTH,
    Picture,
    Theme,
    bare,
    channels_said,
    draw_image,
    drawing,
    framed,
    headline,
    width_in_points,
)
from convmill.view.text import fitted, percent, shown
from convmill.whole import check_whole

Indices = NDArray[np.int64]

# Images beside each other where names of classes are short, and where they are long.
COLUMNS, FEWER_COLUMNS = 6, 5
NARROW_COLUMNS, FEWER_NARROW_COLUMNS = 3, 2  # of a narrow picture
# Letters of a class's name that fit over an image: beside a probability, and on a line of its own.
SHORT_NAME, LONG_NAME = 7, 14
BESIDE_IMAGE = 10  # points from one image to the next
WIDEST = percent(1 - 1e-9)  # ">99.9 %"
NONE: Indices = np.empty(0, np.int64)
IS = "is "  # before the class that an image is of
FRAME = 2.0  # points: around a mistake among others
LINE = 0.17  # inches
AROUND = 0.8  # inches for headline and caption
FLATTEST, TALLEST = 0.3, 3.0  # height by width of an image's place

MISTAKES = (
    "Above: what the model says, and how sure it is. Below: what it is, and the probability that\n"
    "the model gives to that; the least probable first."
)
LEAST_SURE = (
    "Above: the two classes that the model thinks likeliest. Below: what it is.\n"
    "The smallest difference between the two comes first."
)
FRAMED = " Framed: mistakes."


def rank_mistakes(probabilities: NDArray[Any], labels: Any) -> Indices:
    """Which images are classified wrongly, the most wrong first.

    The most wrong one is that whose true class has the lowest probability, so that it adds most
    to the cross-entropy; of equals, that whose predicted class has the highest, then the first.

    Args:
        probabilities: (n, classes).
        labels: true classes, (n,).

    Returns:
        Indices of images, as many as there are mistakes.
    """
    predicted = np.argmax(probabilities, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    of_true = probabilities[wrong, np.asarray(labels)[wrong]]
    of_predicted = probabilities[wrong, predicted[wrong]]
    return wrong[np.lexsort((-of_predicted, of_true))]


def rank_least_sure(probabilities: NDArray[Any]) -> Indices:
    """All n images, the least sure first: that with the smallest margin between the probabilities
    of its two likeliest classes (Scheffer, Decomain and Wrobel, 2001); of equals, the first.
    """
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")


def mistakes(
    model: Any,
    x: Any,
    y: Any,
    class_names: Sequence[str] | None = None,
    *,
    most: int = IMAGES,
    dark: bool = False,
) -> Picture:
    """The images that the model gets most wrong, with predicted and true class.

    They are the wrongly classified ones, ordered as ``rank_mistakes`` does: the lower the
    probability of the true class, the more wrong.

    Args:
        model, x, y, class_names: a classifier, images, their classes and the classes' names, as
            ``convmill.view.predictions.classify`` takes them.
        most: how many to show at most, up to 120.
        dark: on a dark ground.

    Raises:
        TypeError, ValueError: as ``classify`` does; the model reads no images; ``most`` is no
            such number.
    """
    check_whole("most", most, 1, MOST_IMAGES)
    return draw_mistakes(*classify(model, x, y, class_names), most=most, dark=dark)


def draw_mistakes(
    found: Predictions,
    images: NDArray[Any],
    *,
    most: int = IMAGES,
    dark: bool = False,
    narrow: bool = False,
) -> Picture:
    """``mistakes`` of what ``classify`` gave; ``narrow``: for the width of a phone.

    Raises:
        ValueError: ``images`` are none.
    """
    given = _classified(found, images, narrow)
    found = given.found
    ranked = rank_mistakes(found.probabilities, found.labels)
    total = plural(len(given.images), "image")
    if len(ranked) > most:
        title = f"Mistakes: the {most} most wrong of {len(ranked):,} in {total}"
    elif len(ranked) > 0:
        title = f"Mistakes: all {len(ranked)} in {total}"
    else:
        title = f"No mistakes in {total}"
    caption = MISTAKES + _of_channels(given.images) if len(ranked) else ""

    def texts(index: int) -> tuple[list[str], list[str]]:
        name, *probability = given.label(index, int(found.labels[index]))
        return given.label(index, int(found.predicted[index])), [IS + name, *probability]

    return _sheet(given, ranked[:most], texts, title, caption, dark)


def least_sure(
    model: Any,
    x: Any,
    y: Any,
    class_names: Sequence[str] | None = None,
    *,
    most: int = IMAGES,
    dark: bool = False,
) -> Picture:
    """The images, right or wrong, whose two likeliest classes are nearest to each other.

    Mistakes among them are framed. They are ordered as ``rank_least_sure`` does.
    Arguments and errors are those of ``mistakes``.
    """
    check_whole("most", most, 1, MOST_IMAGES)
    given = _classified(*classify(model, x, y, class_names))
    found = given.found
    ranked = rank_least_sure(found.probabilities)[:most]
    wrong = ranked[~found.correct[ranked]]
    total = plural(len(given.images), "image")
    title = f"The {len(ranked)} least sure of {total}; mistakes: {len(wrong)}"

    def texts(index: int) -> tuple[list[str], list[str]]:
        likeliest = np.argsort(-found.probabilities[index], kind="stable")[:2]
        lines = [line for each in likeliest for line in given.label(index, int(each))]
        return lines, [IS + found.class_names[found.labels[index]]]

    caption = LEAST_SURE + FRAMED * bool(len(wrong)) + _of_channels(given.images)
    return _sheet(given, ranked, texts, title, caption, dark, wrong=wrong)


@dataclass(frozen=True, eq=False)
class Classified:
    """Predictions, with class names as they are shown, and the images as (n, height, width[,
    channels]). Names that are ``long`` have a line of their own and more room; ``columns``: images
    beside each other.
    """

    found: Predictions
    images: NDArray[Any]
    long: bool
    columns: int
    width: float  # inches

    def label(self, index: int, label: int) -> list[str]:
        """A class and the probability that it has for one image, in one line or two."""
        name = self.found.class_names[label]
        probability = percent(self.found.probabilities[index, label])
        return [name, probability] if self.long else [f"{name}  {probability}"]


def _classified(found: Predictions, images: NDArray[Any], narrow: bool = False) -> Classified:
    side = math.isqrt(images[0].size)
    if images.ndim == 2 and side * side == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim not in (3, 4):
        raise ValueError(
            "x must hold images, (n, height, width, channels), or squares of n pixels in a row. "
            f"Received: x of shape {images.shape}"
        )
    plain = shown(found.class_names, SHORT_NAME)
    widest = max(width_in_points(f"{IS}{name}  {WIDEST}") for name in plain)
    width = NARROW if narrow else WIDTH
    columns, fewer = (
        (NARROW_COLUMNS, FEWER_NARROW_COLUMNS) if narrow else (COLUMNS, FEWER_COLUMNS)
    )
    long = max(map(len, found.class_names)) > SHORT_NAME or widest > _room(width, columns)
    room = _room(width, fewer) - width_in_points(IS)
    names = fitted(found.class_names, room, LONG_NAME) if long else plain
    return Classified(
        replace(found, class_names=names), images, long, fewer if long else columns, width
    )


def _room(width: float, columns: int) -> float:
    """Points for the text above an image."""
    return (width - 2 * MARGIN) * POINTS_PER_INCH / columns - BESIDE_IMAGE


def _of_channels(images: NDArray[Any]) -> str:
    """A line more of the caption, where channels are no colours."""
    said = channels_said(images.shape[1:])
    return f"\nDrawn of each image: {said}." if said else ""


def _sheet(
    given: Classified,
    indices: Indices,
    texts: Callable[[int], tuple[list[str], list[str]]],
    title: str,
    caption: str,
    dark: bool,
    wrong: Indices = NONE,
) -> Picture:
    """Images in a grid, each with lines above and below it (what ``texts`` gives) and its index."""
    images, columns = given.images, given.columns
    rows = math.ceil(len(indices) / columns)
    above, below = texts(int(indices[0])) if rows else ([], [])
    aspect = min(max(images.shape[1] / images.shape[2], FLATTEST), TALLEST)
    row = aspect * given.width / columns + (len(above) + len(below) + 1) * LINE
    with drawing(rows * row + AROUND, width=given.width, dark=dark) as picture:
        headline(picture, title, caption)
        if not rows:
            return picture
        places = picture.subplots(rows, columns, squeeze=False).ravel()
        for axes, index in zip(places, indices.tolist(), strict=False):
            above, below = texts(index)
            draw_image(axes, images[index])
            axes.set_title("\n".join(above), fontsize=SMALL_SIZE, loc="center", pad=3)
            axes.set_xlabel("\n".join([*below, f"#{index}"]), fontsize=SMALL_SIZE, labelpad=3)
            _frame(axes, index in wrong, picture.theme)
        for axes in places[len(indices) :]:
            bare(axes)
            axes.set_facecolor("none")
    return picture


def _frame(axes: Axes, wrong: bool, theme: Theme) -> None:
    """A thin frame, for an image may be as white as the ground; a thick one around a mistake."""
    framed(axes)
    if wrong:
        for spine in axes.spines.values():
            spine.set(linewidth=FRAME, color=theme.second)
