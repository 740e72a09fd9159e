"""A data set from a server on loopback, as an archive and as a folder of files."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

from convmill.data.download import Limits, download
from convmill.data.files import KnownSet
from convmill.data.sources import read_archive, read_arrays, read_file
from tests.conftest import PATIENCE
from tests.data.tiny import Server, Tiny

PATIENT = Limits(answer_seconds=PATIENCE, silence_seconds=PATIENCE)


def write(folder: Path) -> Iterator[None]:
    """Fetches both, and removes them."""
    tiny, server = _large_set(), Server()
    sets = _sets(tiny, server)
    while True:
        for known in sets:
            place = _fetched(known, folder)
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        yield


def check(folder: Path) -> None:
    """What is there is whole, and both can be fetched."""
    tiny = _large_set()
    if (folder / "tiny.npz").exists():
        read_archive(tiny.known, folder / "tiny.npz")
    for file in tiny.known.files:
        if (path := folder / "tiny" / f"{file.name}.gz").exists():
            read_file(file, path)
    server = Server()
    try:
        for known in _sets(tiny, server):
            read_arrays(known, _fetched(known, folder))
    finally:
        server.stop()


def _large_set() -> Tiny:
    """The tiny set, of images that are not so tiny."""
    with tempfile.TemporaryDirectory() as place:
        return Tiny(Path(place), (200, 200))


def _sets(tiny: Tiny, server: Server) -> list[KnownSet]:
    mirrors = server.serve_npz(tiny.npz), server.serve_idx(tiny.packed)
    return [tiny.with_mirrors(mirror) for mirror in mirrors]


def _fetched(known: KnownSet, folder: Path) -> Path:
    with redirect_stderr(io.StringIO()):  # its progress
        return download(known, folder, PATIENT)
