"""Which image files a folder holds, in Keras' order, and their labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convmill.data.dataset import DataError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class ImageFiles:
    """Paths of images, and for each its class, int32 (n,), where there are classes."""

    paths: tuple[str, ...]
    labels: NDArray[np.int32] | None
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def shuffled(self, seed: int) -> ImageFiles:
        """In the order in which Keras puts them for this seed."""
        order = np.arange(len(self))
        np.random.RandomState(seed).shuffle(order)
        labels = None if self.labels is None else self.labels[order]
        return ImageFiles(tuple(self.paths[each] for each in order), labels, self.class_names)

    def part(self, start: int, stop: int) -> ImageFiles:
        """Those from ``start`` to ``stop``."""
        labels = None if self.labels is None else self.labels[start:stop]
        return ImageFiles(self.paths[start:stop], labels, self.class_names)


def find(
    directory: str,
    labels: str | Sequence[int] | None,
    class_names: Sequence[str] | None,
    follow_links: bool,
) -> ImageFiles:
    """The images below ``directory``, sorted; the arguments as in ``datasets.folder``.

    Raises:
        DataError: no such folder, or no image in it.
        ValueError: ``labels`` or ``class_names`` do not fit what is there.
    """
    if not os.path.isdir(directory):
        raise DataError(f"There is no folder at this path.\nReceived: {directory!r}.")
    if labels is None or not isinstance(labels, str):
        paths = tuple(_below(directory, follow_links))
        found = ImageFiles(paths, *_given(labels, len(paths), directory))
    else:
        found = _by_class(directory, _classes(directory, class_names), follow_links)
    if not found.paths:
        raise DataError(f"{directory}: no images found.\nWanted: {', '.join(ENDINGS)}.")
    return found


def _below(folder: str, follow_links: bool) -> Iterator[str]:
    walk = os.walk(folder, followlinks=follow_links)
    for root, _, names in sorted(walk, key=lambda each: each[0]):
        for name in sorted(names):
            if name.lower().endswith(ENDINGS):
                yield os.path.join(root, name)


def _given(
    labels: Sequence[int] | None, count: int, directory: str
) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Labels that the user passed, and the classes in them."""
    if labels is None:
        return None, ()
    if len(labels) != count:
        raise ValueError(
            f"labels must hold one label for each of the {count} images in {directory}, in the "
            f"order of their paths. Received: {len(labels)} labels"
        )
    return np.array(labels, dtype=np.int32), tuple(map(str, sorted(set(labels))))


def _classes(directory: str, class_names: Sequence[str] | None) -> tuple[str, ...]:
    inside = sorted(
        name
        for name in os.listdir(directory)
        if not name.startswith(".") and os.path.isdir(os.path.join(directory, name))
    )
    if class_names is None:
        return tuple(inside)
    if strange := sorted(set(class_names) - set(inside)):
        raise ValueError(
            f"class_names must be among the folders in {directory}: {', '.join(inside)}. "
            f"Received: class_names={list(class_names)!r}; not there: {', '.join(strange)}"
        )
    return tuple(class_names)


def _by_class(directory: str, classes: tuple[str, ...], follow_links: bool) -> ImageFiles:
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = list(_below(os.path.join(directory, name), follow_links))
        paths += files
        labels += [label] * len(files)
    return ImageFiles(tuple(paths), np.array(labels, dtype=np.int32), classes)
