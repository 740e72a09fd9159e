"""All images of a folder decoded at once, in memory or in a file that serves again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from convmill import storage
from convmill.data.dataset import Array, DataError
from convmill.data.decode import Form, each
from convmill.data.kept import KeptImages, Writing
from convmill.failure import describe

# As much as images may take in memory where the user has not said what to do.
MEMORY_LIMIT = 1 << 30


def decoded(
    paths: Sequence[str], form: Form, cache: bool | Path | None, workers: int
) -> Array | KeptImages | None:
    """All images decoded, (n, height, width, channels), in memory or in a file; None where they are
    to be decoded whenever they are read."""
    in_bytes = all(each(form.keeps_bytes, paths, workers))
    shape = (len(paths), *form.shape)
    dtype = np.dtype(np.uint8 if in_bytes else np.float32)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if cache is False or (cache is None and size > MEMORY_LIMIT):
        return None
    if not isinstance(cache, Path):
        kept = np.empty(shape, dtype)
        _fill(kept, paths, form, workers)
        return kept
    path = cache / f"{_key(paths, form)}.npy"
    try:
        found = _kept(path, shape, dtype)
        if found is None:
            _keep(path, shape, dtype, lambda images: _fill(images, paths, form, workers))
            found = _kept(path, shape, dtype)
    except OSError as error:
        reason = describe(error).rstrip(".")
        raise DataError(
            f"The decoded images could not be kept: {reason}. Make room there, name another "
            f"folder, or decode them anew each time (cache=False). Received: {cache=!s}"
        ) from error
    assert found is not None
    return found


def _kept(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> KeptImages | None:
    """The images in a file; None where there is none of theirs, or a damaged one."""
    try:
        return KeptImages(path, shape, dtype)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def _keep(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, fill: Callable[[Writing], object]
) -> None:
    """Writes a file of images, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write(path, lambda file: fill(Writing(file, shape, dtype)))


def _fill(images: Array | Writing, paths: Sequence[str], form: Form, workers: int) -> None:
    places = {path: number for number, path in enumerate(paths)}

    def decode(path: str) -> None:
        images[places[path]] = form.read(path)

    each(decode, paths, workers)


def _key(paths: Sequence[str], form: Form) -> str:
    """A name that is another one when files, their order or what is made of them is another."""
    digest = hashlib.sha256(repr(form).encode())
    for path in paths:
        state = os.stat(path)
        digest.update(f"\0{os.path.abspath(path)}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
