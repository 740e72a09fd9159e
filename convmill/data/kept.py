"""Decoded images in a file, written once and read by their numbers.

The file is read and not mapped into memory: the system ends a process that looks at a mapped file
which somebody has cut, or writes into one whose disk is full.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from convmill.data.dataset import Array, DataError


class KeptImages:
    """Images (n, height, width, channels) in an .npy file. ``[numbers]`` reads those, as from an
    array, for as long as the object lives, even where the file is removed or replaced."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Opens what ``write`` has made.

        Raises:
            OSError: it cannot be opened.
            ValueError: it is damaged, or holds other images than of ``shape`` and ``dtype``.
        """
        self.path, self.shape, self.dtype = path, shape, dtype
        self._one_at_a_time = threading.Lock()
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._begin = _begin(self._file, shape, dtype)

    def __getitem__(self, numbers: NDArray[np.int64]) -> Array:
        """The images of these numbers, as a new array.

        Raises:
            DataError: the file has been cut.
            OSError: it cannot be read.
        """
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for image, number in zip(found, numbers, strict=True):
            place = self._begin + int(number) * image.nbytes
            if self._read(image, place) != image.nbytes:
                raise DataError(
                    f"{self.path} was cut while it was read: image {number} is not all there. "
                    "Make the data set again, which decodes the images anew."
                )
        return found

    def _read(self, image: Array, place: int) -> int:
        """How many bytes there were; of the file's own position, which forks share, none knows."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [image.data], place)
        with self._one_at_a_time:
            self._file.seek(place)
            return self._file.readinto(image.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptImages, (self.path, self.shape, self.dtype)


class Writing:
    """Such a file while it is written, in any order and by several threads: ``[number] = image``.
    OSError where the disk is full."""

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._file, self._dtype = file, dtype
        self._size = math.prod(shape[1:]) * dtype.itemsize
        self._one_at_a_time = threading.Lock()
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
        self._begin = file.tell()

    def __setitem__(self, number: int, image: Array) -> None:
        content = np.ascontiguousarray(image, self._dtype).tobytes()
        with self._one_at_a_time:
            self._file.seek(self._begin + number * self._size)
            self._file.write(content)


def _begin(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Where the first image begins."""
    np.lib.format.read_magic(file)
    found = np.lib.format.read_array_header_1_0(file)
    begin = file.tell()
    size = begin + math.prod(shape) * dtype.itemsize
    if found != (shape, False, dtype) or os.fstat(file.fileno()).st_size != size:
        raise ValueError("other images, or not all of them")
    return begin
