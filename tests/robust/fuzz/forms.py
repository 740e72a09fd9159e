"""Forms in which an array may come: such as hold its numbers in another way, and such as do not."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy
import ml_dtypes
import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Form:
    """``value`` is what is given. ``numbers`` are float32, what must be understood by it, None
    where it is ``bad``, which says why."""

    value: Any
    numbers: np.ndarray | None
    bad: str
    told: str


def pick(rng: Rng, some: Sequence[Any]) -> Any:
    """One of some; in a tenth of the time of ``rng.choice``."""
    return some[int(rng.integers(len(some)))]


def draw(rng: Rng, array: np.ndarray, folder: Path) -> Form:
    """A form of an array; more often than not a good one."""
    if rng.random() < 0.12:
        name = pick(rng, BAD_NAMES)
        return Form(BAD[name](array, rng), None, name, name)
    dtype = pick(rng, DTYPES) if rng.random() < 0.6 else "float32"
    typed = array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    layout = pick(rng, LAYOUT_NAMES)
    value = LAYOUTS[layout](typed, folder)
    return Form(value, typed.astype("float32"), "", f"{dtype} {layout}")


DTYPES = (
    *("<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "longdouble", "bfloat16", "bool"),
    *("i1", "u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8"),
)


# The same numbers --------------------------------------------------------------------------------


def _step(array: np.ndarray, axis: int) -> np.ndarray:
    """Every other one of an array that is twice as long along an axis."""
    wide = np.repeat(array, 2, axis)
    return wide[(slice(None),) * axis + (slice(None, None, 2),)]


def _backwards(array: np.ndarray) -> np.ndarray:
    every = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[every])[every]


def _unaligned(array: np.ndarray) -> np.ndarray:
    space = np.empty(array.nbytes + 1, np.uint8)
    found = space[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def _read_only(array: np.ndarray) -> np.ndarray:
    found = array.copy()
    found.flags.writeable = False
    return found


def _mapped(array: np.ndarray, folder: Path, mode: Any = "r") -> np.ndarray:
    descriptor, path = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    array.tofile(path)
    found = np.memmap(path, array.dtype, mode, shape=array.shape)
    with contextlib.suppress(OSError):  # what is mapped stays; Windows lets the name stay as well
        os.unlink(path)
    return found


class Own(np.ndarray):
    """A class of arrays of somebody's own."""


def _objects(array: np.ndarray) -> np.ndarray:
    return array.astype(object)


def _of_jax(array: np.ndarray) -> Any:
    """In this machine's byte order, and in a width that there is."""
    narrow = np.dtype("float32") if array.dtype == np.longdouble else array.dtype
    return jax.numpy.asarray(array.astype(narrow.newbyteorder("=")))


Layout = Callable[[np.ndarray, Path], Any]
LAYOUTS: dict[str, Layout] = {
    "as it is": lambda array, _: array,
    "columns first": lambda array, _: np.asfortranarray(array),
    "backwards": lambda array, _: _backwards(array),
    "every other row": lambda array, _: _step(array, 0),
    "every other value": lambda array, _: _step(array, array.ndim - 1),
    "transposed": lambda array, _: np.ascontiguousarray(array.T).T,
    "unaligned": lambda array, _: _unaligned(array),
    "read-only": lambda array, _: _read_only(array),
    "mapped": lambda array, folder: _mapped(array, folder),
    "mapped to write": lambda array, folder: _mapped(array, folder, "r+"),
    "of its own class": lambda array, _: array.view(Own),
    "masked": lambda array, _: np.ma.masked_array(array),  # nothing is
    "of JAX": lambda array, _: _of_jax(array),
}
LAYOUT_NAMES = tuple(LAYOUTS)


# What holds no such numbers ----------------------------------------------------------------------


def _with(array: np.ndarray, rng: Rng, value: float, dtype: str = "float32") -> np.ndarray:
    found = array.astype(dtype)
    found.reshape(-1)[rng.integers(found.size)] = value
    return found


def _structured(array: np.ndarray, rng: Rng) -> np.ndarray:
    return np.zeros(array.shape, [("a", "f4"), ("b", "i4")])


def _ragged(array: np.ndarray, rng: Rng) -> list[Any]:
    rows = array.tolist()
    rows[-1] = [rows[-1], 1.0]
    return rows


def _more_axes(array: np.ndarray, rng: Rng) -> np.ndarray:
    return np.expand_dims(array, int(rng.integers(array.ndim + 1)))


def _fewer_axes(array: np.ndarray, rng: Rng) -> np.ndarray:
    return array.take(0, int(rng.integers(array.ndim)))


def _other_size(array: np.ndarray, rng: Rng) -> np.ndarray:
    axis = int(rng.integers(array.ndim))
    found = np.repeat(array, 2, axis) if rng.random() < 0.5 else array.take(range(0), axis)
    return np.asarray(found)


Bad = Callable[[np.ndarray, Rng], Any]
BAD: dict[str, Bad] = {
    "no number": lambda array, rng: _with(array, rng, np.nan),
    "infinity": lambda array, rng: _with(array, rng, np.inf),
    "too large for float32": lambda array, rng: _with(array, rng, 1e300, "float64"),
    "a fraction": lambda array, rng: _with(array, rng, 1.5),
    "below zero": lambda array, rng: _with(array, rng, -1),
    "far too large": lambda array, rng: _with(array, rng, 2.0**40, "int64"),
    "the largest whole number": lambda array, rng: _with(array, rng, 2**64 - 1, "uint64"),
    "complex numbers": lambda array, rng: array.astype("complex64"),
    "objects": lambda array, rng: _objects(array),
    "objects that are none": lambda array, rng: np.full(array.shape, None, object),
    "text": lambda array, rng: array.astype("U8"),
    "bytes": lambda array, rng: array.astype("S8"),
    "dates": lambda array, rng: array.astype("int64").astype("M8[s]"),
    "spans of time": lambda array, rng: array.astype("int64").astype("m8[s]"),
    "structured": _structured,
    "void": lambda array, rng: np.zeros(array.shape, "V4"),
    "ragged": _ragged,
    "lists": lambda array, rng: array.tolist(),
    "more axes": _more_axes,
    "fewer axes": _fewer_axes,
    "another size": _other_size,
    "turned axes": lambda array, rng: array.transpose(rng.permutation(array.ndim)),
    "a number": lambda array, rng: 1.0,
    "no axes": lambda array, rng: np.array(1.0),
    "None": lambda array, rng: None,
    "a text": lambda array, rng: "images",
    "a dict": lambda array, rng: {"x": array},
    "a dict without strings": lambda array, rng: {0: array},
    "a set": lambda array, rng: {1, 2},
    "an empty list": lambda array, rng: [],
    "two arrays": lambda array, rng: [array, array],
    "a tuple of rows": lambda array, rng: tuple(array),
    "a generator": lambda array, rng: iter(array),
    "an object": lambda array, rng: object(),
    "a function": lambda array, rng: len,
    "a view of memory": lambda array, rng: memoryview(array),
}
BAD_NAMES = tuple(BAD)
