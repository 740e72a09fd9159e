"""Reading named arrays from .npz files that may come from anywhere.

Only the members asked for are opened, nothing is extracted, pickles are never loaded, and a
member whose header promises more than the archive says it holds is refused before any memory is
taken for it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from convmill.data.dataset import OWN_DATA_LIMIT, Array, DataError
from convmill.reasons import reason_of

HEADER_LIMIT = 1 << 16


def read_npz(
    path: Path, keys: Sequence[str], shapes: Sequence[tuple[int, ...]] | None = None
) -> list[Array]:
    """Reads the arrays `keys` of an .npz file, in that order.

    Args:
        path: the file.
        keys: the names of the arrays.
        shapes: what each must have, checked before it is unpacked, its items being bytes (uint8);
            None takes any shape and dtype up to OWN_DATA_LIMIT bytes.

    Raises:
        DataError: no zip file, damaged, a missing key, an array of objects, another shape,
            false sizes.
    """
    wanted: Sequence[tuple[int, ...] | None] = shapes or [None] * len(keys)
    try:
        with zipfile.ZipFile(path) as archive:
            return [
                _read_member(archive, f"{key}.npy", shape)
                for key, shape in zip(keys, wanted, strict=True)
            ]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except MemoryError:
        raise
    except Exception as error:  # whoever made it can make the libraries raise anything
        raise DataError(f"{path}: damaged, or no .npz file ({reason_of(error)}).") from error


def _read_member(archive: zipfile.ZipFile, name: str, expected: tuple[int, ...] | None) -> Array:
    try:
        member = archive.getinfo(name)
    except KeyError:
        there = ", ".join(archive.namelist()[:8]) or "nothing"
        raise DataError(f"{name} is missing.\nReceived: {there}.") from None
    with archive.open(member) as file:
        shape, dtype = _read_header(file, name)
        size = math.prod(shape) * dtype.itemsize
        if file.tell() + size != member.file_size:
            raise DataError(f"{name}: its header promises {size:,} bytes, which it does not hold.")
    if expected is None and size > OWN_DATA_LIMIT:
        raise DataError(f"{name} would unpack to {size:,} bytes; {OWN_DATA_LIMIT:,} is the limit.")
    if expected is not None and (shape != expected or dtype != np.uint8):
        raise DataError(f"{name} must be uint8 {expected}.\nReceived: {dtype} {shape}.")
    with archive.open(member) as file:
        array: Array = np.lib.format.read_array(
            file, allow_pickle=False, max_header_size=HEADER_LIMIT
        )
    return array


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise DataError(f"{name}: unknown version {version} of the .npy format.")
    shape, _, dtype = read(file, max_header_size=HEADER_LIMIT)
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (a pickle), which are never loaded.")
    return shape, dtype
