"""The images that a classifier gets most wrong, and those it is least sure of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.inspection.numbers import plural
from convmill.limits import IMAGES, MOST_IMAGES
from convmill.view.predictions import Predictions, classify
from convmill.view.style import (
    SMALL_SIZE,
    WIDTH,
    Picture,
    bare,
    channels_said,
    draw_image,
    drawing,
    headline,
)
from convmill.view.text import percent, shown
from convmill.whole import check_whole

Indices = NDArray[np.int64]

COLUMNS = 6
# Letters of a class's name that fit over an image: beside a probability, and on a line of its own.
SHORT_NAME, LONG_NAME = 7, 14
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
    found, images = _classified_images(model, x, y, class_names, most)
    ranked = rank_mistakes(found.probabilities, found.labels)
    total = plural(len(images), "image")
    if len(ranked) > most:
        title = f"Mistakes: the {most} most wrong of {len(ranked):,} in {total}"
    elif len(ranked) > 0:
        title = f"Mistakes: all {len(ranked)} in {total}"
    else:
        title = f"No mistakes in {total}"
    caption = MISTAKES + _of_channels(images) if len(ranked) else ""

    def texts(index: int) -> tuple[list[str], list[str]]:
        name, *probability = _class(found, index, int(found.labels[index]))
        return _class(found, index, int(found.predicted[index])), [f"is {name}", *probability]

    return _sheet(images, ranked[:most], texts, title, caption, dark)


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

    They are ordered as ``rank_least_sure`` does. Arguments and errors are those of ``mistakes``.
    """
    found, images = _classified_images(model, x, y, class_names, most)
    ranked = rank_least_sure(found.probabilities)[:most]
    wrong = int(np.sum(~found.correct[ranked]))
    total = plural(len(images), "image")
    title = f"The {len(ranked)} least sure of {total}; mistakes: {wrong}"

    def texts(index: int) -> tuple[list[str], list[str]]:
        likeliest = np.argsort(-found.probabilities[index], kind="stable")[:2]
        lines = [line for each in likeliest for line in _class(found, index, int(each))]
        return lines, ["is " + found.class_names[found.labels[index]]]

    caption = LEAST_SURE + _of_channels(images)
    return _sheet(images, ranked, texts, title, caption, dark)


def _classified_images(
    model: Any, x: Any, y: Any, class_names: Sequence[str] | None, most: int
) -> tuple[Predictions, NDArray[Any]]:
    """Predictions, class names cut as they are shown, and the images as (n, height, width[,
    channels]).
    """
    check_whole("most", most, 1, MOST_IMAGES)
    found, images = classify(model, x, y, class_names)
    side = math.isqrt(images[0].size)
    if images.ndim == 2 and side * side == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim not in (3, 4):
        raise ValueError(
            "x must hold images, (n, height, width, channels), or squares of n pixels in a row. "
            f"Received: x of shape {images.shape}"
        )
    return replace(found, class_names=shown(found.class_names, LONG_NAME)), images


def _of_channels(images: NDArray[Any]) -> str:
    """A line more of the caption, where channels are no colours."""
    said = channels_said(images.shape[1:])
    return f"\nDrawn of each image: {said}." if said else ""


def _class(found: Predictions, index: int, label: int) -> list[str]:
    """A class and the probability that it has for one image, in one line, or two for long names."""
    name = found.class_names[label]
    probability = percent(found.probabilities[index, label])
    if max(map(len, found.class_names)) > SHORT_NAME:
        return [name, probability]
    return [f"{name}  {probability}"]


def _sheet(
    images: NDArray[Any],
    indices: Indices,
    texts: Callable[[int], tuple[list[str], list[str]]],
    title: str,
    caption: str,
    dark: bool,
) -> Picture:
    """Images in a grid, each with lines above and below it (what ``texts`` gives) and its index."""
    rows = math.ceil(len(indices) / COLUMNS)
    above, below = texts(int(indices[0])) if rows else ([], [])
    aspect = min(max(images.shape[1] / images.shape[2], FLATTEST), TALLEST)
    row = aspect * WIDTH / COLUMNS + (len(above) + len(below) + 1) * LINE
    with drawing(rows * row + AROUND, dark=dark) as picture:
        headline(picture, title, caption)
        if not rows:
            return picture
        places = picture.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, index in zip(places, indices.tolist(), strict=False):
            above, below = texts(index)
            draw_image(axes, images[index])
            axes.set_title("\n".join(above), fontsize=SMALL_SIZE, loc="center", pad=3)
            axes.set_xlabel("\n".join([*below, f"#{index}"]), fontsize=SMALL_SIZE, labelpad=3)
        for axes in places[len(indices) :]:
            bare(axes)
            axes.set_facecolor("none")
    return picture
