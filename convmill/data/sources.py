"""Where the files of a known data set lie on this machine, and reading them verified.

The order: a path that the caller names; `$CONVMILL_DATA/<name>/`; the cache that Keras uses too
(`$KERAS_HOME/datasets`, else `~/.keras/datasets`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from convmill import settings
from convmill.data.cifar import joined, read_batch, read_tar
from convmill.data.dataset import Array, DataError
from convmill.data.files import ARRAY_NAMES, BatchFile, IdxFile, KnownSet
from convmill.data.idx import idx_sha256, is_packed, read_idx
from convmill.data.npz import read_npz

# "unverified": whole and of the right size, but no hash of this form is published.
State = Literal["right", "unverified", "wrong", "missing"]


@dataclass(frozen=True)
class Place:
    """A folder of files or one archive. `chosen`: the user named it, so errors in it count
    and are not passed over."""

    path: Path
    chosen: bool


@dataclass(frozen=True)
class FileReport:
    """What was found out about one file; detail: what is wrong with it."""

    path: Path
    state: State
    detail: str = ""


def keras_data_folder() -> Path:
    """Where Keras keeps data sets, and we as well."""
    return settings.keras_folder() / "datasets"


def places(known: KnownSet) -> list[Place]:
    """Every place on this machine to look in, the first one first."""
    found = []
    own = settings.data_folder()
    if own:
        folder, keras_spelling = own / known.name, own / known.cache_folder
        chosen = keras_spelling if keras_spelling.is_dir() else folder
        found.append(Place(_within(known, chosen), chosen=True))
    if known.archive:
        found.append(Place(keras_data_folder() / known.archive.name, chosen=False))
    found.append(Place(_within(known, keras_data_folder() / known.cache_folder), chosen=False))
    return found


def _within(known: KnownSet, folder: Path) -> Path:
    """Where in `folder` the set lies: the archive, what an archive was unpacked to, or itself."""
    if known.archive is None or (folder / known.files[0].name).exists():
        return folder
    unpacked = folder / known.archive.folder
    if unpacked.is_dir() and not (folder / known.archive.name).is_file():
        return unpacked
    in_it = folder / known.archive.name
    return in_it if in_it.is_file() else folder


def place_of(known: KnownSet, path: str | os.PathLike[str]) -> Place:
    """The place that an explicit path means: a folder, an archive, or, as in Keras, the bare
    name of an .npz file in the cache."""
    given = settings.expanded(path)
    in_cache = keras_data_folder() / given
    if not given.exists() and given.suffix == ".npz" and in_cache.is_file():
        return Place(in_cache, chosen=True)
    if not given.exists():
        raise DataError(
            f"{known.title}: there is nothing at the path that was given.\n"
            f"Received: path={os.fspath(path)!r}.\n"
            f"Give a folder with {', '.join(file.name for file in known.files)}"
            + (" (each plain or .gz)" if isinstance(known.files[0], IdxFile) else "")
            + (f", or a file like {known.archive.name}." if known.archive else ".")
        )
    return Place(_within(known, given) if given.is_dir() else given, chosen=True)


def find_file(folder: Path, file: IdxFile | BatchFile) -> Path:
    """Where in `folder` the file is, or would be."""
    return find_idx(folder, file.name) if isinstance(file, IdxFile) else folder / file.name


def find_idx(folder: Path, name: str) -> Path:
    """The packed or the plain file; packed first, as some hashes are known for these only.
    Where neither is there, the path of the packed one."""
    packed, plain = folder / f"{name}.gz", folder / name
    return plain if plain.exists() and not packed.exists() else packed


def what_is_missing(known: KnownSet, path: Path) -> str:
    """Empty when all files are there (right or wrong); else what is not, for people to read."""
    if not path.exists():
        return "not there"
    if not path.is_dir():
        return ""
    missing = [file.name for file in known.files if not find_file(path, file).exists()]
    forms = " (plain or .gz)" if isinstance(known.files[0], IdxFile) else ""
    return f"no {', '.join(missing)}{forms}" if missing else ""


def read_arrays(known: KnownSet, path: Path) -> list[Array]:
    """Reads and verifies all four arrays (uint8, in the order of ARRAY_NAMES).

    Raises:
        DataError: a file is missing, unreadable or not what it should be.
    """
    if path.is_dir():
        contents = [read_file(file, find_file(path, file))[0] for file in known.files]
        return contents if isinstance(known.files[0], IdxFile) else joined(contents)
    return read_archive(known, path)[0]


def read_file(file: IdxFile | BatchFile, path: Path) -> tuple[Any, State]:
    """Reads `path` as `file` and verifies it: (array or batch, "right" or "unverified")."""
    if isinstance(file, BatchFile):
        return read_batch(path, file), "right"
    array = read_idx(path, file.shape)
    if file.content_sha256 is not None:
        _compare(path, "content", file.content_sha256, idx_sha256(array))
    elif file.gz_sha256 is not None and is_packed(path):
        _compare(path, "file", file.gz_sha256, file_sha256(path))
    else:
        return array, "unverified"
    return array, "right"


def read_archive(known: KnownSet, path: Path) -> tuple[list[Array], State]:
    """Reads a file that holds the whole set.

    It is right when the hashes of all that is in it are; an .npz file also when its own hash is.
    """
    batches = [file for file in known.files if isinstance(file, BatchFile)]
    if batches:
        return joined(read_tar(path, batches)), "right"
    arrays = read_npz(path, ARRAY_NAMES, known.shapes)
    if known.archive and file_sha256(path) == known.archive.sha256:
        return arrays, "right"
    state: State = "right"
    files = [file for file in known.files if isinstance(file, IdxFile)]
    for name, file, array in zip(ARRAY_NAMES, files, arrays, strict=True):
        if file.content_sha256 is None:
            state = "unverified"
        else:
            _compare(path, f"{name} as IDX", file.content_sha256, idx_sha256(array))
    return arrays, state


def report_place(known: KnownSet, path: Path) -> list[FileReport]:
    """Verifies every file; what is wrong with one is told in its report, never raised."""
    if known.archive and path.name == known.archive.name:
        return [_report(path, read_archive, known, path)]
    found = [(file, find_file(path, file)) for file in known.files]
    return [_report(each, read_file, file, each) for file, each in found]


def _report(path: Path, read: Callable[..., tuple[Any, State]], *arguments: object) -> FileReport:
    if not path.exists():
        return FileReport(path, "missing")
    try:
        return FileReport(path, read(*arguments)[1])
    except DataError as error:
        return FileReport(path, "wrong", str(error))


def _compare(path: Path, what: str, wanted: str, received: str) -> None:
    if received != wanted:
        raise DataError(
            f"{path}: wrong sha256 ({what}).\nWanted:   {wanted}\nReceived: {received}."
        )


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes. DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
