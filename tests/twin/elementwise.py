"""Rescaling, dropout and activations, with their gradients, in float64. Shapes are any."""

from __future__ import annotations

import math

import numpy as np

from convmill.plan.graph.activations import Activation

_GELU_SCALE = math.sqrt(2 / math.pi)
_erf = np.vectorize(math.erf, otypes=[np.float64])


def rescale(x: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """x * scale + offset; its gradient is the output's, times scale."""
    return x * scale + offset


def dropout(x: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    """x where ``mask`` is 1, scaled by 1 / (1 - rate), and 0 where it is 0.

    A rate of 1 gives zeros. The gradient of x is the same function of the output's gradient.
    """
    return np.zeros(x.shape) if rate == 1 else x * mask / (1 - rate)


def activation(spec: Activation, x: np.ndarray) -> np.ndarray:
    """f(x); softmax runs over the last axis."""
    match spec.name:
        case "linear":
            return x
        case "relu" | "leaky_relu":
            above = np.maximum(x, 0) if spec.ceiling is None else np.clip(x, 0, spec.ceiling)
            return above + spec.slope * np.minimum(x, 0)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "tanh":
            return np.tanh(x)
        case "elu":
            return np.where(x > 0, x, spec.slope * np.expm1(np.minimum(x, 0)))
        case "gelu":
            return x * _normal_share(x)
        case "gelu_tanh":
            return x * 0.5 * (1 + np.tanh(_GELU_SCALE * (x + 0.044715 * x**3)))
        case "softmax":
            power = np.exp(x - x.max(axis=-1, keepdims=True))
            return power / power.sum(axis=-1, keepdims=True)


def activation_gradient(spec: Activation, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient of x from that of f(x)."""
    if spec.name == "softmax":
        y = activation(spec, x)
        return y * (gradient - (gradient * y).sum(axis=-1, keepdims=True))
    return gradient * _slope(spec, x)


def _slope(spec: Activation, x: np.ndarray) -> np.ndarray:
    """f'(x); at a kink, what Keras on JAX takes."""
    match spec.name:
        case "linear":
            return np.ones(x.shape)
        case "relu" | "leaky_relu":
            return _relu_slope(spec, x)
        case "sigmoid":
            y = activation(spec, x)
            return y * (1 - y)
        case "tanh":
            return 1 - np.tanh(x) ** 2
        case "elu":
            return np.where(x > 0, 1, spec.slope * np.exp(np.minimum(x, 0)))
        case "gelu":
            return _normal_share(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        case "gelu_tanh":
            inner = np.tanh(_GELU_SCALE * (x + 0.044715 * x**3))
            steepness = _GELU_SCALE * (1 + 3 * 0.044715 * x**2)
            return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * steepness
    raise ValueError(spec.name)


def _relu_slope(spec: Activation, x: np.ndarray) -> np.ndarray:
    """At 0: 0 for relu, 1 for a leaky relu without ceiling. At the ceiling: 0."""
    positive = x >= 0 if spec.slope and spec.ceiling is None else x > 0
    if spec.ceiling is not None:
        positive = positive & (x < spec.ceiling)
    return np.where(positive, 1.0, np.where(x < 0, spec.slope, 0.0))


def _normal_share(x: np.ndarray) -> np.ndarray:
    """The share of a standard normal distribution that lies below x."""
    return 0.5 * (1 + _erf(x / math.sqrt(2)))
