"""Data sets by name or path: listing, fetching, checking and loading them."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from convmill.data import digits
from convmill.data.dataset import DataError, Dataset
from convmill.data.files import KnownSet
from convmill.data.known import KNOWN_SETS
from convmill.data.obtain import obtain
from convmill.data.own import load_path
from convmill.data.sources import (
    FileReport,
    Place,
    place_of,
    places,
    read_arrays,
    report_place,
    what_is_missing,
)
from convmill.kinds import check_path
from convmill.settings import expanded

DIGITS = "digits"
DIGITS_TITLE = "1,797 handwritten digits, always at hand"
# Of the 8x8 counts, then the labels, all uint8.
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
WITH_CONVMILL = "comes with convmill"


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue.

    Attributes:
        train, test: the number of images in each part.
        where: the folder or file, or how to get it. Its hashes are not checked here.
    """

    name: str
    title: str
    train: int
    test: int
    image_shape: tuple[int, ...]
    classes: int
    found: bool
    where: str


@dataclass(frozen=True)
class CheckReport:
    """The state of every file of one data set. ok: all there, and none wrong."""

    name: str
    where: str
    files: tuple[FileReport, ...]

    @property
    def ok(self) -> bool:
        """Whether no file is missing or wrong."""
        return all(file.state in ("right", "unverified") for file in self.files)


def names() -> list[str]:
    """The names that ``load`` takes."""
    return [*KNOWN_SETS, DIGITS]


def catalog() -> list[Entry]:
    """All named data sets, found on this machine or not. Reads no data, asks no network."""
    entries = [_entry(known) for known in KNOWN_SETS.values()]
    entries.append(Entry(DIGITS, DIGITS_TITLE, 1437, 360, (28, 28), 10, True, WITH_CONVMILL))
    return entries


def _entry(known: KnownSet) -> Entry:
    place = _found(known)
    (train, *image_shape), _, (test, *_), _ = known.shapes
    return Entry(
        name=known.name,
        title=known.title,
        train=train,
        test=test,
        image_shape=tuple(image_shape),
        classes=len(known.class_names),
        found=place is not None,
        where=str(place.path) if place else "not on this machine; will be downloaded when needed",
    )


def _found(known: KnownSet) -> Place | None:
    return next((p for p in places(known) if not what_is_missing(known, p.path)), None)


def fetch(name: str) -> str:
    """Makes sure that the named set is on this machine and right; downloads it when it is not.

    Returns:
        where it lies.

    Raises:
        DataError: unknown name; found wrong where the user put it; nowhere to be had.
    """
    name = known_name(name)
    if name == DIGITS:
        return WITH_CONVMILL
    return str(obtain(KNOWN_SETS[name])[0])


def check(name: str) -> CheckReport:
    """Verifies every file of the named set where it lies (the first place that has all of them).

    Raises:
        DataError: unknown name.
    """
    name = known_name(name)
    if name == DIGITS:
        return CheckReport(name, WITH_CONVMILL, (_check_digits(),))
    known = KNOWN_SETS[name]
    place = _found(known) or places(known)[0]
    return CheckReport(name, str(place.path), tuple(report_place(known, place.path)))


def _check_digits() -> FileReport:
    counts, labels = digits.raw_digits()
    received = hashlib.sha256(counts.tobytes() + labels.tobytes()).hexdigest()
    path = Path(digits.FILE.name)
    if received == DIGITS_SHA256:
        return FileReport(path, "right")
    return FileReport(path, "wrong", f"Wanted:   {DIGITS_SHA256}\nReceived: {received}")


def load(name_or_path: str | os.PathLike[str]) -> Dataset:
    """Loads a named data set, or the user's own from a path (see `convmill.data.own`).

    A name goes before a file of the same name; write ./name for the file.

    Raises:
        TypeError: no text, and no path.
        DataError: no such name or path; nowhere to be had; wrong.
    """
    check_path("name_or_path", name_or_path, "a data set's name, or a path")
    if is_name(name_or_path):
        return load_named(str(name_or_path))
    path = expanded(name_or_path)
    if path.exists():
        return load_path(path)
    if isinstance(name_or_path, str) and path.name == name_or_path and not path.suffix:
        known_name(name_or_path)  # raises, naming the nearest
    raise DataError(f"There is no data at this path.\nReceived: {os.fspath(name_or_path)!r}.")


def is_name(text: object) -> bool:
    """Whether `load` takes a text for a data set's name, whatever files there are."""
    return isinstance(text, str) and _spelled(text) in names()


def load_named(
    name: str, path: str | os.PathLike[str] | None = None, *, coarse: bool = False
) -> Dataset:
    """Loads a named set, from `path` (a folder or an archive) where it is given.

    Args:
        coarse: with the labels that tell fewer classes apart, of a set that has two.

    Raises:
        TypeError: ``path`` is no path.
        DataError: unknown name; not at `path`, or wrong there; nowhere to be had; a `path` for
            `digits`, which has none.
    """
    name = known_name(name)
    if path is not None:
        check_path("path", path)
    if name == DIGITS:
        if path is not None:
            raise DataError(f"{DIGITS!r} {WITH_CONVMILL}, and takes no path.\nReceived: {path!r}.")
        return digits.load_digits()
    known = KNOWN_SETS[name]
    if coarse and known.coarse:
        known = known.coarse
    if path is None or _is_keras_default(known, path):
        where, arrays = obtain(known)
    else:
        where = place_of(known, path).path
        arrays = read_arrays(known, where)
    x_train, y_train, x_test, y_test = arrays
    return Dataset(name, x_train, y_train, x_test, y_test, known.class_names, str(where))


def _is_keras_default(known: KnownSet, path: str | os.PathLike[str]) -> bool:
    """Keras' own default, path="mnist.npz", means the file in the cache."""
    archive = known.archive
    return archive is not None and os.fspath(path) == archive.name and not Path(path).exists()


def load_mnist_or_digits() -> tuple[Dataset, str | None]:
    """MNIST where it can be had; else `digits`, and a text that says so and how to mend it."""
    try:
        return load_named("mnist"), None
    except DataError as error:
        line = "!" * 80
        return load_named(DIGITS), (
            f"{line}\nMNIST is not to be had: going on with `digits`, a much smaller set "
            f"(1,437 images to\ntrain on, not 60,000). The figures below are NOT those of MNIST."
            f"\n\n{error}\n{line}"
        )


def known_name(name: str) -> str:
    """The name as this package spells it.

    Raises:
        DataError: no such set; names the nearest.
    """
    spelled = _spelled(str(name))
    if spelled in names():
        return spelled
    near = difflib.get_close_matches(spelled, names(), n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise DataError(
        f"There is no data set of this name.\nReceived: {name!r}.\n"
        f"{hint}The names are: {', '.join(names())}."
    )


def _spelled(name: str) -> str:
    return name.strip().lower().replace("-", "_")
