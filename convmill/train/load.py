"""Loading a model, or weights into one: all of a file or nothing of it, with one clear error.

No code of a file's is ever run: Keras' ``safe_mode`` stays as it is, on unless the user says
otherwise. What an archive says of itself is checked before Keras reads it, and every byte of it,
for Keras does not look at all checksums.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from convmill import storage
from convmill.kinds import check_path
from convmill.reasons import reason_of
from convmill.train.attach import methods
from convmill.train.checksum import is_whole
from convmill.train.foreign import check_readable
from convmill.train.loaded import snapshots
from convmill.train.save import SUFFIX

_CONFIG, _METADATA = "config.json", "metadata.json"
_LARGE, _MOST_EXPANSION = 1 << 28, 100  # bytes of a member; how often it may be its stored size
_LARGEST_TEXT = 1 << 28  # bytes of JSON
_MOST_MEMBERS = 100_000
_AT_ONCE = 1 << 20


def load_model(filepath: Any, *args: Any, **kwargs: Any) -> Any:
    """``keras.models.load_model``.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: it is damaged, no model, or one that cannot be made here.
    """
    path = _local(filepath)
    if path is None or path.is_dir():
        return methods.load_model(filepath, *args, **kwargs)
    with _told(path, "this model"):
        _check(path)
        return methods.load_model(filepath, *args, **kwargs)


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> Any:
    """``keras.Model.load_weights``: where it fails, the model is as it was. Raises as above."""
    path = _local(filepath)
    load = methods.FILES["load_weights"]
    if path is None or path.is_dir():
        return load(model, filepath, skip_mismatch, **kwargs)
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *getattr(optimizer, "variables", ())]
    before = snapshots(variables)
    with _told(path, "these weights", " The model is as it was."):
        _check(path)
        try:
            return load(model, filepath, skip_mismatch, **kwargs)
        except BaseException:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            raise


def _local(given: Any) -> Path | None:
    """The file of this machine that is meant; None where that is something else."""
    check_path("filepath", given, "a file")
    name = os.fspath(given)
    return Path(name) if isinstance(name, str) and name and "://" not in name else None


@contextmanager
def _told(path: Path, what: str, kept: str = "") -> Iterator[None]:
    """Says in one error what is wrong with a file; it can make the libraries raise anything."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or _line(error)
        raise storage.told(error, f"{path} cannot be read: {reason}.{kept}") from error
    except Exception as error:
        hint = _newer(path)
        raise ValueError(f"{path}: Keras cannot load {what}. {_line(error)}{hint}{kept}") from error


def _line(error: Exception) -> str:
    """What Keras says, in one line; where it lists several reasons, the first one."""
    text = re.sub(r"^.*Example error message for object .*?: ", "", reason_of(error))
    return text.partition(" List of objects that could not be loaded: ")[0]


def _newer(path: Path) -> str:
    """That a file is from a newer Keras, if it says so."""
    try:
        with zipfile.ZipFile(path) as archive:
            written = json.loads(archive.read(_METADATA))["keras_version"]
        if _numbers(written) > _numbers(keras.__version__):
            return f" It was written by Keras {written}; this is Keras {keras.__version__}."
    except Exception:  # it says nothing of the kind
        pass
    return ""


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)][:3]


def _check(path: Path) -> None:
    """Raises ValueError, in words, where a file is not what its name says."""
    size = path.stat().st_size
    if size == 0:
        raise ValueError("The file is empty.")
    if path.suffix == SUFFIX:
        with path.open("rb") as file:  # by its name, is_zipfile calls what it cannot open none
            if not zipfile.is_zipfile(file):
                counted = "1 byte that is" if size == 1 else f"{size:,} bytes that are"
                raise ValueError(f"Received: {counted} no such archive, or cut short.")
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive)
        return
    whole = is_whole(path)
    if whole is None:
        check_readable(path)
    elif not whole:
        raise ValueError("The file is damaged: its checksum is another one.")


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Names first, then sizes, then each byte."""
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"The archive has {len(members):,} members; no model has so many.")
    names = Counter(one.filename for one in members)
    for member in members:
        name = member.filename
        parts = re.split(r"[/\\]", name)
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if ".." in parts or not parts[0] or ":" in parts[0] or is_link or names[name] > 1:
            raise ValueError(f"The archive has a member that no model has: {name!r:.100}.")
        if member.file_size > max(_LARGE, _MOST_EXPANSION * member.compress_size):
            raise ValueError(
                f"The member {name!r:.100} of the archive would take {member.file_size:,} bytes."
            )
    if _CONFIG not in names:
        raise ValueError(f"The archive has no {_CONFIG}.")
    for member in members:
        _read(archive, member)
    _check_config(archive)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Reads a member to its end, where its checksum is compared."""
    try:
        with archive.open(member) as file:
            while file.read(_AT_ONCE):
                pass
    except Exception as error:  # whatever it is, the bytes are not those that were written
        raise ValueError(f"The file is damaged, at its member {member.filename!r:.100}.") from error


def _check_config(archive: zipfile.ZipFile) -> None:
    try:
        if archive.getinfo(_CONFIG).file_size > _LARGEST_TEXT:
            raise ValueError("too large")
        config = json.loads(archive.read(_CONFIG))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Its {_CONFIG} is no JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"Its {_CONFIG} tells no model.")
