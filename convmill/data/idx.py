"""IDX files: the format MNIST comes in, as they are or packed with gzip.

An IDX file is two zero bytes, a byte for the type of the items (8: unsigned byte), a byte for the
number of dimensions, each dimension as a big-endian 32-bit integer, then the items in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convmill.data.dataset import OWN_DATA_LIMIT, DataError

Readable = io.BufferedReader | gzip.GzipFile

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot pack better than 1032:1, so a header that promises more is a lie.
BEST_PACKING = 1032


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an IDX file of unsigned bytes, of a shape."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTE, len(shape), *shape)


def idx_sha256(array: NDArray[np.uint8]) -> str:
    """sha256 of the plain IDX file that holds `array` (uint8), however it was stored."""
    digest = hashlib.sha256(idx_header(array.shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def is_packed(path: Path) -> bool:
    """Whether a file is packed with gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def read_idx(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Reads one IDX file of unsigned bytes, plain or gzip-packed (told by its first bytes).

    Never unpacks more than the header promises, plus one byte.

    Args:
        path: the file.
        shape: what its header must say; None takes what it says.

    Returns:
        uint8 array of the header's shape, writable.

    Raises:
        DataError: not IDX, another shape, shorter or longer than its header says, damaged gzip.
    """
    try:
        size = path.stat().st_size
        if is_packed(path):
            with gzip.open(path) as unpacked:
                return _read_items(path, unpacked, shape, size * BEST_PACKING)
        with path.open("rb") as plain:
            return _read_items(path, plain, shape, size)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged or cut short (gzip: {error}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _read_items(
    path: Path, file: Readable, expected: tuple[int, ...] | None, limit: int
) -> NDArray[np.uint8]:
    shape = _read_shape(path, file)
    if expected is not None and shape != expected:
        raise DataError(f"{path}: its header must say {expected}.\nReceived: {shape}.")
    size = math.prod(shape)
    if size > limit or (expected is None and size > OWN_DATA_LIMIT):
        raise DataError(f"{path}: its header promises {size:,} bytes, more than it can hold.")
    # One byte more than promised: reading into it shows a file that is too long.
    content = np.empty(size + 1, dtype=np.uint8)
    length = _fill(file, content.data)
    if length != size:
        received = f"{length:,} bytes" if length < size else "more"
        raise DataError(
            f"{path}: its header promises {size:,} bytes {shape}.\nReceived: {received}."
        )
    return content[:size].reshape(shape)


def _read_shape(path: Path, file: Readable) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, UNSIGNED_BYTE)) or not 1 <= magic[3] <= 4:
        html = " It looks like an HTML page." if magic[:1] == b"<" else ""
        raise DataError(
            f"{path}: not an IDX file of unsigned bytes.{html}\n"
            f"Received: first bytes {magic.hex(' ') or 'none'}; wanted 00 00 08 and 01 to 04."
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) != 4 * magic[3]:
        raise DataError(f"{path}: cut short within its header.")
    return struct.unpack(f">{magic[3]}I", sizes)


def _fill(file: Readable, buffer: memoryview) -> int:
    """Reads until the buffer is full or the file ends; the number of bytes read."""
    length = 0
    while length < len(buffer):
        count = file.readinto(buffer[length:])
        if not count:
            break
        length += count
    return length
