"""Max and average pooling and their gradients, window by window, in float64.

Ties. Where a window's maximum is met several times, XLA's ``select_and_scatter``, which
differentiates Keras' MaxPooling2D on JAX, gives the whole gradient to the first place in row-major
order. GlobalMaxPooling2D is a plain maximum over two axes, whose gradient JAX shares equally among
the places; ``shared=True`` does that.
"""

from __future__ import annotations

import numpy as np

from tests.twin.convolution import Padding, counts, padded, unpadded, windows


def forward(
    kind: str,
    x: np.ndarray,
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
) -> np.ndarray:
    """x (n, h, w, c) -> (n, rows, columns, c); ``kind`` is max or average."""
    source = padded(x, padding, np.nan)
    y = np.zeros((len(x), *counts(source, size, strides), x.shape[3]))
    combine = np.nanmax if kind == "max" else np.nanmean  # over real pixels: NaN is padding
    for row, column, across, along in windows(source, size, strides):
        y[:, row, column] = combine(source[:, across, along], axis=(1, 2))
    return y


def backward(
    kind: str,
    x: np.ndarray,
    gradient: np.ndarray,
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: Padding,
    *,
    shared: bool = False,
) -> np.ndarray:
    """Gradient of x (n, h, w, c) from that of the output, (n, rows, columns, c)."""
    source = padded(x, padding, np.nan)
    result = np.zeros(source.shape)
    for row, column, across, along in windows(source, size, strides):
        window = source[:, across, along]
        share = _average_share(window) if kind == "average" else _max_share(window, shared)
        result[:, across, along] += share * gradient[:, row : row + 1, column : column + 1]
    return unpadded(result, padding)


def _average_share(window: np.ndarray) -> np.ndarray:
    """window (n, kh, kw, c), NaN where padded -> what each pixel has of the average."""
    real = ~np.isnan(window)
    return real / real.sum(axis=(1, 2), keepdims=True)


def _max_share(window: np.ndarray, shared: bool) -> np.ndarray:
    """window (n, kh, kw, c), NaN where padded -> what each pixel has of the maximum."""
    n, height, width, channels = window.shape
    if shared:
        highest = window == np.nanmax(window, axis=(1, 2), keepdims=True)
        return highest / highest.sum(axis=(1, 2), keepdims=True)
    flat = window.reshape(n, height * width, channels)
    first = np.nanargmax(flat, axis=1)  # the first of several
    return (np.arange(height * width)[None, :, None] == first[:, None, :]).reshape(window.shape)
