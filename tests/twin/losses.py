"""The losses of Keras with their gradients, and its accuracies, place by place, in float64.

Formulas: keras.losses and Keras' JAX backend. Probabilities are normalised (not for the binary
loss), then clipped to [epsilon, 1 - epsilon] before their logarithm is taken. A place is what lies
along the last axis of an output.
"""

from __future__ import annotations

import numpy as np

from convmill.plan.graph import Activation
from convmill.plan.recipe import Loss
from tests.twin.elementwise import activation


def loss(spec: Loss, outputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses (n, *places) and their gradients by the outputs, without any weights.

    outputs (n, *places, classes); y the same, or class indices (n, *places) for the sparse loss.
    """
    classes = outputs.shape[-1]
    flat = outputs.reshape(-1, classes)
    target = np.eye(classes)[y.reshape(-1)] if spec.sparse else y.reshape(-1, classes)
    losses, gradient = _loss(spec, flat, target.astype(np.float64))
    return losses.reshape(outputs.shape[:-1]), gradient.reshape(outputs.shape)


def _loss(spec: Loss, outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of outputs and targets (places, classes)."""
    match spec.name:
        case "categorical_crossentropy" | "sparse_categorical_crossentropy":
            if spec.label_smoothing:
                target = target * (1 - spec.label_smoothing)
                target = target + spec.label_smoothing / outputs.shape[1]
            if spec.from_logits:
                return _logits(outputs, target)
            return _probabilities(outputs, target, spec.epsilon)
        case "binary_crossentropy":
            target = target * (1 - spec.label_smoothing) + 0.5 * spec.label_smoothing
            if spec.from_logits:
                return _binary_logits(outputs, target)
            return _binary(outputs, target, spec.epsilon)
        case "mean_squared_error":
            difference = outputs - target
            return (difference**2).mean(axis=1), 2 * difference / outputs.shape[1]
        case "mean_absolute_error":
            difference = outputs - target
            # JAX takes 1 as the slope of |t - p| by t - p at 0
            slope = np.where(difference > 0, 1.0, -1.0)
            return np.abs(difference).mean(axis=1), slope / outputs.shape[1]


def _clip(x: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """x held to [low, high], and its slope: half at the ends, as in JAX."""
    ends = np.where((x == low) | (x == high), 0.5, 0.0)
    return np.clip(x, low, high), np.where((x > low) & (x < high), 1.0, ends)


def _probabilities(
    outputs: np.ndarray, target: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """-sum(target * log(clip(p / sum(p))))."""
    total = outputs.sum(axis=1, keepdims=True)
    share = outputs / total
    clipped, slope = _clip(share, epsilon, 1 - epsilon)
    by_share = -slope * target / clipped
    gradient = (by_share - (by_share * share).sum(axis=1, keepdims=True)) / total
    return -(target * np.log(clipped)).sum(axis=1), gradient


def _logits(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-sum(target * log_softmax(outputs))."""
    raised = outputs - outputs.max(axis=1, keepdims=True)
    logarithm = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
    gradient = np.exp(logarithm) * target.sum(axis=1, keepdims=True) - target
    return -(target * logarithm).sum(axis=1), gradient


def _binary(
    outputs: np.ndarray, target: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """-mean(target * log(p) + (1 - target) * log(1 - p)), p clipped."""
    p, slope = _clip(outputs, epsilon, 1 - epsilon)
    losses = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    by_output = slope * ((1 - target) / (1 - p) - target / p)
    return losses.mean(axis=1), by_output / outputs.shape[1]


def _binary_logits(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of p = sigmoid(outputs), not clipped: log(p) = -log(1 + exp(-outputs))."""
    losses = target * np.logaddexp(0, -outputs) + (1 - target) * np.logaddexp(0, outputs)
    p = activation(Activation("sigmoid"), outputs)
    return losses.mean(axis=1), (p - target) / outputs.shape[1]


def correct(kind: str, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of each image's places whose prediction counts as accurate: (n,).

    outputs (n, *places, classes); y as for ``loss``. The binary accuracy of a place is the share of
    its outputs that lie on the right side of 0.5.
    """
    if kind == "binary":
        right = (outputs > 0.5) == y
    else:
        wanted = y if kind == "sparse" else y.argmax(axis=-1)
        right = outputs.argmax(axis=-1) == wanted
    return right.reshape(len(y), -1).mean(axis=1)
