"""The images of one run: the same subset for every arm of a seed, on a canvas where one is asked
for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.data import DataError, Dataset, is_name, load
from convmill.settings import expanded
from convmill.study.errors import StudyError
from convmill.study.settings import Data

# What each random choice of a run is drawn for; a new one goes to the end.
TRAIN, TEST, PLACE_TRAIN, PLACE_TEST = range(4)


@dataclass(frozen=True, eq=False)
class Images:
    """Images (n, height, width) or (n, height, width, channels), of the values that they were
    stored with, and labels (n,). ``stored_test`` are the test images without a canvas."""

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    stored_test: NDArray[Any]


def dataset(name: str) -> Dataset:
    """The data set, kept for the runs that follow, until its files change.

    Raises:
        StudyError: it is not there, or wrong.
    """
    return _dataset(name, _state(name))


def fingerprint(name: str) -> str:
    """What tells this data set from another that goes by its name."""
    return _fingerprint(name, _state(name))


def _state(name: str) -> tuple[tuple[str, int, int], ...]:
    """The files of the user's own data: path, bytes, and when they were written in nanoseconds.
    Nothing for data sets by name, whose files are verified."""
    if is_name(name):
        return ()
    path = expanded(name).absolute()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            state = file.stat()
        except OSError:  # gone meanwhile; that nothing is there is for ``load`` to say
            continue
        found.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=2)
def _dataset(name: str, state: object) -> Dataset:
    try:
        return load(name)
    except DataError as error:
        raise StudyError(f"data: {error}") from error


@lru_cache(maxsize=8)
def _fingerprint(name: str, state: object) -> str:
    return dataset(name).fingerprint


def image_shape(data: Data) -> tuple[int, ...]:
    """(height, width, channels) of an image as a net gets it.

    Raises:
        StudyError: there are fewer images than are asked for, or larger ones than the canvas.
    """
    found = dataset(data.name)
    for key, asked, there in (
        ("train", data.train, len(found.x_train)),
        ("test", data.test, len(found.x_test)),
    ):
        if asked is not None and asked > there:
            raise StudyError(f"data: {data.name} has {there:,} images. Received: {key} = {asked}.")
    height, width, *channels = found.image_shape
    if data.canvas is None:
        return height, width, *(channels or [1])
    if data.canvas < max(height, width):
        raise StudyError(
            f"data: the images of {data.name} are {height}x{width}. Received: canvas = "
            f"{data.canvas}, on which they do not fit."
        )
    return data.canvas, data.canvas, *(channels or [1])


def draw(data: Data, seed: int) -> Images:
    """The images of a run. A smaller training set is the beginning of a larger one's.

    The order of images, and with it the subset, depends on the seed alone.
    """
    found = dataset(data.name)
    train = _drawn(seed, TRAIN, len(found.x_train), data.train)
    test = _drawn(seed, TEST, len(found.x_test), data.test)
    x_train, stored_test = found.x_train[train], found.x_test[test]
    x_test = stored_test
    if data.canvas is not None:
        x_train = _on_canvas(x_train, data, generator(seed, PLACE_TRAIN))
        x_test = _on_canvas(stored_test, data, generator(seed, PLACE_TEST))
    return Images(x_train, found.y_train[train], x_test, found.y_test[test], stored_test)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Random numbers of a run for one purpose, whatever else is drawn."""
    return np.random.default_rng([seed, purpose])


def laid(images: NDArray[Any], size: int, down: Any, right: Any) -> NDArray[Any]:
    """Images on black canvases of ``size``, their corners at (down, right): numbers, or (n,)."""
    count, height, width = images.shape[:3]
    canvas = np.zeros((count, size, size, *images.shape[3:]), images.dtype)
    rows = np.broadcast_to(down, count)[:, np.newaxis] + np.arange(height)
    columns = np.broadcast_to(right, count)[:, np.newaxis] + np.arange(width)
    each = np.arange(count)[:, np.newaxis, np.newaxis]
    canvas[each, rows[:, :, np.newaxis], columns[:, np.newaxis, :]] = images
    return canvas


def _drawn(seed: int, purpose: int, there: int, asked: int | None) -> NDArray[np.int64]:
    """Indices: all in their order, or the first that are asked for of a random order."""
    if asked is None:
        return np.arange(there)
    return generator(seed, purpose).permutation(there)[:asked]


def _on_canvas(images: NDArray[Any], data: Data, random: np.random.Generator) -> NDArray[Any]:
    size = data.canvas or 0
    room = np.array([size - images.shape[1], size - images.shape[2]])
    if data.place == "anywhere":
        down, right = random.integers(0, room + 1, (len(images), 2)).T
        return laid(images, size, down, right)
    down, right = room // 2 if data.place == "centre" else room * 0
    return laid(images, size, down, right)
