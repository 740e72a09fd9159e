"""Reading CIFAR's batch files, which are pickles, without running what a pickle may hold.

A pickle names the functions that rebuild its objects. Here no name leads to one: arrays are
rebuilt as plain descriptions of themselves, anything else is refused, and a file whose hash is
not the published one is not unpickled at all.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from convmill.data.dataset import Array, DataError
from convmill.data.files import BatchFile

Batch = tuple[Array, Array]

# Besides its pixels an image has a label and the name of its file.
MOST_BESIDE_PIXELS = 256
SMALLEST_LIMIT = 1 << 16


class _Type:
    """What a pickle says of a dtype: its code."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like: nothing that bytes have."""


class _Array:
    """What a pickle says of an array: shape, dtype, whether columns come first, its bytes."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def bytes_of(self, shape: tuple[int, ...]) -> Array:
        """The array, uint8 of ``shape``. DataError where it is another one."""
        try:
            _, received, dtype, columns_first, content = self.state
            code = dtype.code
        except (TypeError, ValueError, AttributeError):
            raise DataError("its images are no array.") from None
        is_bytes = code in (b"u1", "u1") and isinstance(content, bytes)
        if received != shape or not is_bytes or len(content) != math.prod(shape):
            raise DataError(f"its images must be bytes of shape {shape}.\nReceived: {received}.")
        array = np.frombuffer(content, dtype=np.uint8)
        return array.reshape(shape, order="F" if columns_first else "C")


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
}


class _Unpickler(pickle.Unpickler):
    """Builds lists, dicts, numbers, bytes and stand-ins for arrays; refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for what Python 2 and NumPy wrote; UnpicklingError for other names."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is never loaded")
        return _STAND_INS[module, name]


def read_batch(path: Path, file: BatchFile) -> Batch:
    """Reads and verifies one batch file: uint8 images of ``file.shape`` and labels (n,).

    Raises:
        DataError: it cannot be read, or its hash or what is in it is not what it should be.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_limit(file) + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return _batch(str(path), content, file)


def read_tar(path: Path, files: Sequence[BatchFile]) -> list[Batch]:
    """Reads and verifies the batch files in a tar file, packed or not; extracts nothing.

    Raises:
        DataError: no tar file, damaged, one of ``files`` missing in it or not what it should be.
    """
    wanted = {file.name: file for file in files}
    found: dict[str, Batch] = {}
    try:
        # As a stream, for a packed file can only be read from its beginning.
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                file = wanted.get(PurePosixPath(member.name).name)
                opened = tar.extractfile(member) if file and member.isfile() else None
                if file and opened:
                    content = opened.read(_limit(file) + 1)
                    found[file.name] = _batch(f"{path}: {member.name}", content, file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise DataError(f"{path}: damaged, or no tar file ({error}).") from error
    if missing := [name for name in wanted if name not in found]:
        raise DataError(f"{path}: {', '.join(missing)} is missing in it.")
    return [found[file.name] for file in files]


def joined(batches: Sequence[Batch]) -> list[Array]:
    """The arrays of the set, in the order of ARRAY_NAMES: the last batch is for the test."""
    *train, test = batches
    x_train, y_train = (np.concatenate(part) for part in zip(*train, strict=True))
    return [x_train, y_train, *test]


def _limit(file: BatchFile) -> int:
    count, *image = file.shape
    return SMALLEST_LIMIT + count * (math.prod(image) + MOST_BESIDE_PIXELS)


def _batch(where: str, content: bytes, file: BatchFile) -> Batch:
    received = hashlib.sha256(content).hexdigest()
    if received != file.sha256:
        raise DataError(
            f"{where}: wrong sha256 (file).\nWanted:   {file.sha256}\nReceived: {received}."
        )
    try:
        return _unpickled(content, file)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"{where}: cannot be unpickled ({error}).") from error


def _unpickled(content: bytes, file: BatchFile) -> Batch:
    count, height, width, channels = file.shape
    batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    rows = batch[b"data"].bytes_of((count, channels * height * width))
    labels = batch[file.labels.encode()]
    if len(labels) != count or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise DataError(f"{file.labels} must be {count} whole numbers below 256.")
    planes = rows.reshape(count, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.array(labels, dtype=np.uint8)
