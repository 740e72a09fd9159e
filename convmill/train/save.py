"""Saving a model whole or not at all.

Keras writes in place: on a full disk the old file is gone and the new one is not there.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convmill import storage
from convmill.storage import Name

SUFFIX = ".keras"


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
    import keras  # here, so that checking a path does not wait for Keras

    check_destination(path)
    with storage.replacing(path) as new:
        keras.saving.save_model(model, new)
        with zipfile.ZipFile(new, "a") as archive:
            for name, content in (members or {}).items():
                archive.writestr(name, content)
