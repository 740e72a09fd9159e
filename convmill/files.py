"""Files that commands write: what their names must be, and errors in the words of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click

from convmill import storage
from convmill.failure import Failure


def check_destination(path: Path, suffixes: tuple[str, ...], option: str) -> None:
    """Raises before any work is done where a file of this name cannot be meant.

    Raises:
        click.BadParameter: naming ``option``: the name ends in none of ``suffixes``, is that of a
            folder, or lies in a folder that is not there.
    """
    if path.suffix.lower() not in suffixes:
        problem = f"The file name must end in {' or '.join(suffixes)}. Received: {path}"
    elif path.is_dir():
        problem = f"{path} is a folder; a file name is needed."
    elif not path.parent.is_dir():
        problem = f"There is no folder {path.parent}: create it first."
    else:
        return
    raise click.BadParameter(problem, param_hint=option)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Has ``write`` fill a file beside ``path``, which then takes its place at once.

    Raises:
        Failure: it cannot be written (no permission, disk full). A file that was there is as it
            was.
    """
    try:
        storage.write(path, write)
    except OSError as error:
        raise Failure(error.strerror or str(error)) from error


def write_text_whole(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8, whole or not at all.

    Raises:
        Failure: as ``write_whole`` does.
    """
    content = text.encode()

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_whole(path, write)
