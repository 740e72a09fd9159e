"""2-D convolution (cross-correlation) and its gradients, window by window, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Padding = tuple[int, int, int, int]
Pair = tuple[int, int]
ONE = (1, 1)


def padded(x: np.ndarray, padding: Padding, value: float = 0.0) -> np.ndarray:
    """x (n, h, w, c) with ``padding`` (top, bottom, left, right) pixels of ``value`` around it."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def unpadded(x: np.ndarray, padding: Padding) -> np.ndarray:
    """The inverse of ``padded``: (n, top + h + bottom, left + w + right, c) to (n, h, w, c)."""
    top, bottom, left, right = padding
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right, :]


def counts(source: np.ndarray, size: Pair, strides: Pair, dilation: Pair = ONE) -> Pair:
    """How many windows fit below each other and beside each other on ``source`` (n, h, w, c)."""
    rows, columns = (
        (source.shape[1 + axis] - (size[axis] - 1) * dilation[axis] - 1) // strides[axis] + 1
        for axis in (0, 1)
    )
    return rows, columns


def windows(
    source: np.ndarray, size: Pair, strides: Pair, dilation: Pair = ONE
) -> Iterator[tuple[int, int, slice, slice]]:
    """(row, column of the output; rows, columns of ``source`` (n, h, w, c) that it looks at)."""
    extent = [(size[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    rows, columns = counts(source, size, strides, dilation)
    for row in range(rows):
        for column in range(columns):
            y, x = row * strides[0], column * strides[1]
            across = slice(y, y + extent[0], dilation[0])
            yield row, column, across, slice(x, x + extent[1], dilation[1])


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    strides: Pair,
    padding: Padding,
    dilation: Pair = ONE,
) -> np.ndarray:
    """x (n, h, w, c), kernel (kh, kw, c / groups, f), bias (f,) -> (n, rows, columns, f)."""
    source = padded(x, padding)
    size = (kernel.shape[0], kernel.shape[1])
    y = np.zeros((len(x), *counts(source, size, strides, dilation), kernel.shape[3]))
    for read, written in _groups(x.shape[3], kernel):
        part = source[..., read]
        for row, column, across, along in windows(source, size, strides, dilation):
            y[:, row, column, written] = np.tensordot(
                part[:, across, along], kernel[..., written], axes=3
            )
    return y if bias is None else y + bias


def backward(
    x: np.ndarray,
    kernel: np.ndarray,
    gradient: np.ndarray,
    strides: Pair,
    padding: Padding,
    dilation: Pair = ONE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x (n, h, w, c), kernel (kh, kw, c / groups, f) and bias (f,).

    ``gradient`` is that of the output, (n, rows, columns, f).
    """
    source = padded(x, padding)
    d_source, d_kernel = np.zeros(source.shape), np.zeros(kernel.shape)
    size = (kernel.shape[0], kernel.shape[1])
    for read, written in _groups(x.shape[3], kernel):
        for row, column, across, along in windows(source, size, strides, dilation):
            place = gradient[:, row, column, written]  # (n, f)
            part = source[:, across, along, read]
            d_kernel[..., written] += np.tensordot(part, place, axes=((0,), (0,)))
            d_source[:, across, along, read] += np.tensordot(
                place, kernel[..., written], axes=((1,), (3,))
            )
    return unpadded(d_source, padding), d_kernel, gradient.sum(axis=(0, 1, 2))


def _groups(channels: int, kernel: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """The channels that each group reads, and the filters that it has."""
    each, filters = kernel.shape[2:]
    many = channels // each
    for group in range(many):
        wide = filters // many
        yield slice(group * each, (group + 1) * each), slice(group * wide, (group + 1) * wide)


# Transposed: the gradient of a convolution by what it reads --------------------------------------


def transposed(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
    size: Pair,
) -> np.ndarray:
    """x (n, h, w, c), kernel (kh, kw, f, c), bias (f,) -> (n, *size, f)."""
    all_of_it = _spread(x, kernel, strides, dilation)
    all_of_it = backward(all_of_it, kernel, x, strides, (0, 0, 0, 0), dilation)[0]
    y = np.zeros((len(x), *size, kernel.shape[2]))
    inside, kept = _kept(all_of_it, padding, size)
    y[inside] = all_of_it[kept]
    return y if bias is None else y + bias


def transposed_backward(
    x: np.ndarray,
    kernel: np.ndarray,
    gradient: np.ndarray,
    strides: Pair,
    padding: Padding,
    dilation: Pair,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x (n, h, w, c), kernel (kh, kw, f, c) and bias (f,)."""
    all_of_it = _spread(x, kernel, strides, dilation)
    inside, kept = _kept(all_of_it, padding, (gradient.shape[1], gradient.shape[2]))
    all_of_it[kept] = gradient[inside]
    d_x = forward(all_of_it, kernel, None, strides, (0, 0, 0, 0), dilation)
    d_kernel = backward(all_of_it, kernel, x, strides, (0, 0, 0, 0), dilation)[1]
    return d_x, d_kernel, gradient.sum(axis=(0, 1, 2))


def _spread(x: np.ndarray, kernel: np.ndarray, strides: Pair, dilation: Pair) -> np.ndarray:
    """Zeros for all that a transposed convolution reaches, (n, rows, columns, f)."""
    rows, columns = (
        (x.shape[1 + axis] - 1) * strides[axis] + (kernel.shape[axis] - 1) * dilation[axis] + 1
        for axis in (0, 1)
    )
    return np.zeros((len(x), rows, columns, kernel.shape[2]))


def _kept(
    all_of_it: np.ndarray, padding: Padding, size: Pair
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which part of an output of ``size`` is reached, and where that part is in ``all_of_it``."""
    inside, kept = [slice(None)], [slice(None)]
    for axis in (0, 1):
        before = padding[2 * axis]
        count = min(size[axis], all_of_it.shape[1 + axis] - before)
        inside.append(slice(0, count))
        kept.append(slice(before, before + count))
    return tuple(inside), tuple(kept)
