"""One checkpoint as a file: a zip archive of arrays (.npy) and JSON, with a checksum of it all.

The archive's comment, its last bytes, is the SHA-256 of all bytes before. Nothing is compressed, so
nothing in it is larger than the file; nothing in it is code.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from convmill import storage
from convmill.reasons import reason_of
from convmill.train.checkpoint import tree

FORMAT, VERSION = "convmill checkpoint", 1
_STATE = "state.json"
_DIGITS = hashlib.sha256().digest_size * 2
_AT_ONCE = 1 << 20  # bytes


class Damaged(ValueError):
    """A file that is no checkpoint, or not the one that was written."""


def write(path: Path, content: Any) -> None:
    """Writes plain values and arrays, whole or not at all. OSError where that cannot be."""
    arrays: list[Any] = []
    packed = tree.pack(content, arrays)
    plain = [np.asarray(one) for one in arrays]
    state = {
        "format": FORMAT,
        "version": VERSION,
        "dtypes": [one.dtype.name for one in plain],
        "content": packed,
    }
    with storage.replacing(path) as new:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_STATE, json.dumps(state))
            for number, array in enumerate(plain):
                with archive.open(_name(number), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, _known_to_numpy(array), allow_pickle=False)
            archive.comment = b"0" * _DIGITS
        with new.open("r+b") as file:
            digest = _digest(file, new.stat().st_size - _DIGITS)
            file.seek(-_DIGITS, io.SEEK_END)
            file.write(digest)


def read(path: Path) -> Any:
    """What was written.

    Raises:
        Damaged: it is no such file, or not a byte like the one that was written.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < _DIGITS or _digest(file, size - _DIGITS) != file.read(_DIGITS):
            raise Damaged(f"its checksum is not that of its {size:,} bytes")
        try:
            with zipfile.ZipFile(file) as archive:
                return _content(archive)
        except Damaged:
            raise
        except Exception as error:  # whoever made it can make the libraries raise anything
            raise Damaged(f"it is no checkpoint of convmill's: {reason_of(error)}") from error


def _content(archive: zipfile.ZipFile) -> Any:
    if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
        raise Damaged("it is no checkpoint of convmill's: there is something compressed in it")
    state = json.loads(archive.read(_STATE))
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise Damaged("it is no checkpoint of convmill's")
    if state["version"] != VERSION:
        raise Damaged(f"it is of version {state['version']}; this convmill reads {VERSION}")
    arrays = [
        _array(archive.read(_name(number))).view(np.dtype(dtype))
        for number, dtype in enumerate(state["dtypes"])
    ]
    return tree.unpack(state["content"], arrays)


def _name(number: int) -> str:
    return f"{number}.npy"


def _known_to_numpy(array: np.ndarray) -> np.ndarray:
    """Arrays of dtypes that others have added to NumPy's (bfloat16) as whole numbers."""
    if array.dtype.isbuiltin == 1 or array.dtype.kind in "SUMm":
        return array
    return array.view(f"u{array.dtype.itemsize}")


def _array(npy: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file, which need be that and nothing else."""
    file = io.BytesIO(npy)
    header = {(1, 0): np.lib.format.read_array_header_1_0}
    header |= {(2, 0): np.lib.format.read_array_header_2_0}
    shape, columns_first, dtype = header[np.lib.format.read_magic(file)](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(npy) - file.tell():
        raise Damaged("it is no checkpoint of convmill's: an array in it is none")
    values = np.frombuffer(npy, dtype, math.prod(shape), file.tell())
    return values.reshape(shape, order="F" if columns_first else "C").copy()


def _digest(file: Any, count: int) -> bytes:
    """SHA-256 of the next ``count`` bytes of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    while count > 0:
        piece = file.read(min(count, _AT_ONCE))
        if not piece:
            break
        digest.update(piece)
        count -= len(piece)
    return digest.hexdigest().encode()
