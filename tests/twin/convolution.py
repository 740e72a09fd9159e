"""2-D convolution (cross-correlation) and its gradients, window by window, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Padding = tuple[int, int, int, int]


def padded(x: np.ndarray, padding: Padding, value: float = 0.0) -> np.ndarray:
    """x (n, h, w, c) with ``padding`` (top, bottom, left, right) pixels of ``value`` around it."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def unpadded(x: np.ndarray, padding: Padding) -> np.ndarray:
    """The inverse of ``padded``: (n, top + h + bottom, left + w + right, c) to (n, h, w, c)."""
    top, bottom, left, right = padding
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right, :]


def counts(source: np.ndarray, size: tuple[int, int], strides: tuple[int, int]) -> tuple[int, int]:
    """How many windows fit below each other and beside each other on ``source`` (n, h, w, c)."""
    height, width = source.shape[1:3]
    return (height - size[0]) // strides[0] + 1, (width - size[1]) // strides[1] + 1


def windows(
    source: np.ndarray, size: tuple[int, int], strides: tuple[int, int]
) -> Iterator[tuple[int, int, slice, slice]]:
    """(row, column of the output; rows, columns of ``source`` (n, h, w, c) that it looks at)."""
    rows, columns = counts(source, size, strides)
    for row in range(rows):
        for column in range(columns):
            y, x = row * strides[0], column * strides[1]
            yield row, column, slice(y, y + size[0]), slice(x, x + size[1])


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    strides: tuple[int, int],
    padding: Padding,
) -> np.ndarray:
    """x (n, h, w, c), kernel (kh, kw, c, f), bias (f,) -> (n, rows, columns, f)."""
    source = padded(x, padding)
    size = (kernel.shape[0], kernel.shape[1])
    y = np.zeros((len(x), *counts(source, size, strides), kernel.shape[3]))
    for row, column, across, along in windows(source, size, strides):
        y[:, row, column] = np.tensordot(source[:, across, along], kernel, axes=3)
    return y if bias is None else y + bias


def backward(
    x: np.ndarray,
    kernel: np.ndarray,
    gradient: np.ndarray,
    strides: tuple[int, int],
    padding: Padding,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x (n, h, w, c), kernel (kh, kw, c, f) and bias (f,).

    ``gradient`` is that of the output, (n, rows, columns, f).
    """
    source = padded(x, padding)
    d_source, d_kernel = np.zeros(source.shape), np.zeros(kernel.shape)
    size = (kernel.shape[0], kernel.shape[1])
    for row, column, across, along in windows(source, size, strides):
        place = gradient[:, row, column]  # (n, f)
        d_kernel += np.tensordot(source[:, across, along], place, axes=((0,), (0,)))
        d_source[:, across, along] += np.tensordot(place, kernel, axes=((1,), (3,)))
    return unpadded(d_source, padding), d_kernel, gradient.sum(axis=(0, 1, 2))
