"""The images of every worker: MNIST where it lies in $CONVMILL_DATA, random ones elsewhere.

Needs NumPy alone, because each worker runs it in the environment of its own framework.
"""

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.nets import Net

RANDOM_BYTES = 100_000_000


class DataError(Exception):
    """A data file that is there but is not what it should be."""


@dataclass(frozen=True)
class Images:
    """`x` is (n, height, width, channels) in 0..1, `labels` (n,) int64; for training and test."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray
    source: str


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes) float32, as `keras.utils.to_categorical` makes it."""
    return np.eye(classes, dtype=np.float32)[labels]


def load(net: Net, dtype: str = "float32") -> Images:
    """The images for `net`, as `dtype`. Raises DataError where MNIST's files are damaged."""
    if net.input_shape != (28, 28, 1):
        return random_images(
            net,
            dtype,
            f"random images {net.input_shape}: speed does not depend on the pixels' meaning",
        )
    folder = os.environ.get("CONVMILL_DATA")
    if folder is None:
        return random_images(net, dtype, "RANDOM images instead of MNIST: CONVMILL_DATA is not set")
    mnist = Path(folder) / "mnist"
    files = [mnist / f"{part}.gz" for part in _MNIST_PARTS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        return random_images(
            net, dtype, f"RANDOM images instead of MNIST: no {missing[0]} in $CONVMILL_DATA/mnist"
        )
    x, labels, x_test, labels_test = (read_idx(file) for file in files)
    return Images(
        _scaled(x, dtype),
        labels.astype(np.int64),
        _scaled(x_test, dtype),
        labels_test.astype(np.int64),
        "MNIST",
    )


def random_images(net: Net, dtype: str, source: str) -> Images:
    """Uniform pixels in 0..1 and uniform labels; at most 60,000 images and 100 MB.

    The test gets a sixth as many, but no fewer than 2,048.
    """
    bytes_each = int(np.prod(net.input_shape)) * np.dtype(dtype).itemsize
    count = min(60_000, RANDOM_BYTES // bytes_each)
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = random.random((n, *net.input_shape), dtype=np.float32)
        return pixels.astype(dtype, copy=False), random.integers(0, net.classes, n)

    return Images(*draw(count), *draw(max(count // 6, 2048)), source)


_MNIST_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(file: Path) -> np.ndarray:
    """A gzipped IDX file: two zero bytes, type 8 (bytes), rank, big-endian sizes, the bytes."""
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file.name} cannot be read as gzip: {error}. Fetch it again.") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(
            f"{file.name} is no IDX file of bytes. Received: it begins with {content[:4]!r}."
        )
    rank = content[3]
    header = 4 + 4 * rank
    if len(content) < header:
        raise DataError(
            f"{file.name} ends within its header. Received: {len(content)} bytes, rank {rank}."
        )
    shape = struct.unpack(f">{rank}I", content[4:header])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != expected:
        received = len(content) - header
        raise DataError(
            f"{file.name} should hold {expected} bytes for {shape}. Received: {received} bytes."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _scaled(pixels: np.ndarray, dtype: str) -> np.ndarray:
    """(n, 28, 28, 1) in 0..1."""
    # Straight into its place: an intermediate array here would set the process's peak of memory.
    out = np.empty(pixels.shape, dtype)
    np.divide(pixels, 255, out=out, casting="unsafe")
    return out[..., np.newaxis]
