"""Saving a model, or its weights, whole or not at all.

Keras writes in place: on a full disk the old file is gone and the new one is not there.
"""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convmill import storage
from convmill.kinds import check_path
from convmill.runtime import reserve
from convmill.storage import Name

SUFFIX = ".keras"
WEIGHTS = ".weights.h5"
_OLDER = (".h5", ".hdf5")
FLOAT_BYTES = 4


def check_destination(path: Name) -> Path:
    """The file that ``path`` leads to (links followed), after trying whether it can be written.

    Raises:
        ValueError: the name does not end in ``.keras``.
        OSError: a folder of that name exists, or its folder is missing or takes no new files.
    """
    target = Path(os.path.realpath(path))
    if target.suffix != SUFFIX:
        raise ValueError(f"A model's file name must end in {SUFFIX}. Received: {path}")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a file name is needed.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {Path(path).parent}: create it first.")
    try:
        # Only trying tells: permissions, access lists and read-only disks all have a say.
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise type(error)(
            error.errno, f"The folder {Path(path).parent} takes no new files: {error.strerror}."
        ) from error
    return target


def save_model(model: Any, path: Name, members: Mapping[str, bytes] | None = None) -> None:
    """Writes ``model`` to ``path``, beside the old file first, which it then replaces at once.

    Args:
        model: a Keras model.
        path: ends in ``.keras``.
        members: further members for the archive, by name; Keras passes them over.

    Raises:
        ValueError: the name does not end in ``.keras``.
        OSError: it cannot be written (no such folder, disk full). The old file is as it was.
    """
    # Here, so that checking a path does not wait for Keras.
    from convmill.train.attach import methods

    check_destination(path)
    _require_room(model)
    with storage.replacing(path) as new:
        methods.FILES["save"](model, new)
        with zipfile.ZipFile(new, "a") as archive:
            for name, content in (members or {}).items():
                archive.writestr(name, content)


# In the place of Keras' methods ------------------------------------------------------------------


def save(
    model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
) -> None:
    """``keras.Model.save``: a file is written beside the old one, which it then replaces."""
    from convmill.train.attach import methods
    from convmill.train.attach.files import may_overwrite, model_file_h5
    from convmill.train.checksum import sealed

    path = _file(filepath, (SUFFIX, *_OLDER))
    _require_room(model)
    if path is None or zipped is False:
        methods.FILES["save"](model, filepath, overwrite, zipped, **kwargs)
    elif not overwrite and path.exists() and not may_overwrite(path):
        return
    elif path.suffix == SUFFIX or not kwargs.keys() <= {"include_optimizer"}:
        with storage.replacing(path) as new:
            methods.FILES["save"](model, new, True, zipped, **kwargs)
    else:
        content = sealed(model_file_h5(model, kwargs.get("include_optimizer", True)))
        storage.write(path, lambda file: file.write(content))


def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
) -> None:
    """``keras.Model.save_weights``: a file is written beside the old one, with a checksum."""
    from convmill.train.attach import methods
    from convmill.train.attach.files import may_overwrite, weights_file
    from convmill.train.checksum import sealed

    path = _file(filepath, (WEIGHTS,))
    _require_room(model)
    if path is None or max_shard_size is not None or not model.built:
        methods.FILES["save_weights"](model, filepath, overwrite, max_shard_size)
    elif overwrite or not path.exists() or may_overwrite(path):
        content = sealed(weights_file(model))
        storage.write(path, lambda file: file.write(content))


def _require_room(model: Any) -> None:
    """HDF5 files are made in memory, where they take up to four times their size; their library
    says nothing that anybody understands where that is not there. MemoryError then."""
    if reserve.limit() is not None and model.built:
        held = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ())]
        size = sum(math.prod(one.shape) for one in held) * FLOAT_BYTES
        reserve.require(4 * size + reserve.KERAS, "saving the model")


def _file(given: Any, suffixes: tuple[str, ...]) -> Path | None:
    """The file of this machine that is meant; None where that is no such thing."""
    check_path("filepath", given, "a file")
    name = os.fspath(given)
    if not isinstance(name, str) or "://" in name or not name.endswith(suffixes):
        return None
    return Path(name)
