"""All images of a folder decoded at once, in memory or in a mapped file that serves again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convmill.data.dataset import Array
from convmill.data.decode import Form, each

# As much as images may take in memory where the user has not said what to do.
MEMORY_LIMIT = 1 << 30


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
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{_key(paths, form)}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            mapped = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
            _fill(mapped, paths, form, workers)
            mapped.flush()
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)


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
