"""All images of a folder decoded at once, in memory or in a mapped file that serves again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from convmill import storage
from convmill.data.dataset import Array, DataError
from convmill.data.decode import Form, each
from convmill.failure import describe

# As much as images may take in memory where the user has not said what to do.
MEMORY_LIMIT = 1 << 30
ZEROS = 1 << 20  # bytes written at a time


def decoded(
    paths: Sequence[str], form: Form, cache: bool | Path | None, workers: int
) -> Array | None:
    """All images decoded, (n, height, width, channels), in memory or in a mapped file; None where
    they are to be decoded whenever they are read."""
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


def _kept(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Array | None:
    """The images in a file, mapped; None where there is none of theirs, or a damaged one."""
    if not path.exists():
        return None
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return np.asarray(mapped) if (mapped.shape, mapped.dtype) == (shape, dtype) else None


def _keep(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, fill: Callable[[Array], object]
) -> None:
    """Writes a file of images, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.replacing(path) as new:
        mapped = np.lib.format.open_memmap(new, mode="w+", dtype=dtype, shape=shape)
        _take_room(new, mapped.offset)
        fill(mapped)
        mapped.flush()


def _take_room(path: Path, offset: int) -> None:
    """Has the disk set aside all of a file that is a hole from ``offset`` on. OSError where it is
    full: whoever then writes to the mapped file would be ended by the system."""
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size == offset:  # no images
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), offset, size - offset)
            return
        file.seek(offset)
        for start in range(offset, size, ZEROS):
            file.write(bytes(min(ZEROS, size - start)))


def _fill(images: Array, paths: Sequence[str], form: Form, workers: int) -> None:
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
