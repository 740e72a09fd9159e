"""Getting a known data set: from this machine in the order of places, else from the mirrors."""

from __future__ import annotations

from pathlib import Path

from convmill import settings
from convmill.data.dataset import Array, DataError
from convmill.data.download import MirrorFailed, download
from convmill.data.files import IdxFile, KnownSet
from convmill.data.sources import keras_data_folder, places, read_arrays, what_is_missing


def obtain(known: KnownSet) -> tuple[Path, list[Array]]:
    """Finds the set on this machine or downloads it.

    Returns:
        (place, arrays): the folder or archive, and its four arrays, verified.

    Raises:
        DataError: wrong where the user put it; nowhere to be had; the cache cannot be written; or
            CONVMILL_OFFLINE is neither 0 nor 1.
    """
    tried = [] if settings.data_folder() else ["$CONVMILL_DATA: not set"]
    for place in places(known):
        missing = what_is_missing(known, place.path)
        if missing:
            tried.append(f"{place.path}: {missing}")
            continue
        try:
            return place.path, read_arrays(known, place.path)
        except DataError as error:
            if place.chosen:
                raise
            tried.append(str(error))
    if _offline():
        unasked = (
            f"{mirror.url}: not asked, as CONVMILL_OFFLINE is set" for mirror in known.mirrors
        )
        raise _nowhere(known, [*tried, *unasked])
    try:
        path = download(known, keras_data_folder())
    except MirrorFailed as failures:
        raise _nowhere(known, [*tried, str(failures)]) from failures
    return path, read_arrays(known, path)


def _offline() -> bool:
    try:
        return settings.offline()
    except ValueError as error:
        raise DataError(str(error)) from error


def _nowhere(known: KnownSet, tried: list[str]) -> DataError:
    own = settings.data_folder()
    folder = own / known.name if own else f"FOLDER/{known.name}"
    idx = [
        f"  {file.name}.gz  sha256 " + (file.gz_sha256 or f"{file.content_sha256} when unpacked")
        for file in known.files
        if isinstance(file, IdxFile)
    ]
    archive = known.archive
    whole = [f"  {archive.name}  sha256 {archive.sha256}"] if archive else []
    lines = [
        f"{known.title}: not to be had.",
        "Tried:",
        *(f"  {line}" for text in tried for line in text.splitlines()),
        f"To mend it, get {'these files' if idx else 'this file'} on a machine with a network "
        "(from a server named above),",
        *(idx or whole),
        f"and put {'them, packed or not,' if idx else 'it'}",
        f"  into {folder}" + ("" if own else ", and set CONVMILL_DATA=FOLDER;"),
        f"  or into {keras_data_folder() / known.cache_folder if idx else keras_data_folder()}",
    ]
    if idx and archive:
        lines += [
            f"Or put {archive.name}, sha256 {archive.sha256},",
            f"  into {keras_data_folder()}",
        ]
    return DataError("\n".join(lines))
