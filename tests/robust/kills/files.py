"""One file that is written over and over, of one byte."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from convmill import storage

SIZE = 200_000


def write(folder: Path) -> Iterator[None]:
    """Each time another byte."""
    for number in itertools.count():
        byte = bytes([number % 256])
        storage.write(folder / "file", lambda file, byte=byte: file.write(byte * SIZE))
        yield


def check(folder: Path) -> None:
    """The file is of one byte, and whole."""
    content = (folder / "file").read_bytes()
    assert len(content) == SIZE
    assert len(set(content)) == 1
    storage.write(folder / "other", lambda file: file.write(b"x"))
