"""A dense layer and its gradients, in float64."""

from __future__ import annotations

import numpy as np


def forward(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """x (n, inputs), kernel (inputs, units), bias (units,) -> (n, units)."""
    y = x @ kernel
    return y if bias is None else y + bias


def backward(
    x: np.ndarray, kernel: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of x, kernel and bias from that of the output, (n, units)."""
    return gradient @ kernel.T, x.T @ gradient, gradient.sum(axis=0)
