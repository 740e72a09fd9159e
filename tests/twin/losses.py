"""The losses of Keras with their gradients, and its accuracies, image by image, in float64.

Formulas: keras.losses and Keras' JAX backend. Probabilities are normalised (not for the binary
loss), then clipped to [EPSILON, 1 - EPSILON] before their logarithm is taken.
"""

from __future__ import annotations

import numpy as np

from convmill.plan.graph import Activation
from convmill.plan.recipe import EPSILON, Loss
from tests.twin.elementwise import activation


def loss(spec: Loss, outputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses (n,) and their gradients by the outputs (n, classes), without any weights.

    outputs (n, classes); y (n, classes), or class indices (n,) for the sparse loss.
    """
    target = np.eye(outputs.shape[1])[y] if spec.sparse else y.astype(np.float64)
    match spec.name:
        case "categorical_crossentropy" | "sparse_categorical_crossentropy":
            if spec.label_smoothing:
                target = target * (1 - spec.label_smoothing)
                target = target + spec.label_smoothing / outputs.shape[1]
            return (_logits if spec.from_logits else _probabilities)(outputs, target)
        case "binary_crossentropy":
            target = target * (1 - spec.label_smoothing) + 0.5 * spec.label_smoothing
            return (_binary_logits if spec.from_logits else _binary)(outputs, target)
        case "mean_squared_error":
            difference = outputs - target
            return (difference**2).mean(axis=1), 2 * difference / outputs.shape[1]
        case "mean_absolute_error":
            difference = outputs - target
            # JAX takes 1 as the slope of |t - p| by t - p at 0
            slope = np.where(difference > 0, 1.0, -1.0)
            return np.abs(difference).mean(axis=1), slope / outputs.shape[1]


def _probabilities(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-sum(target * log(clip(p / sum(p))))."""
    total = outputs.sum(axis=1, keepdims=True)
    share = outputs / total
    clipped = np.clip(share, EPSILON, 1 - EPSILON)
    by_share = np.where(share == clipped, -target / clipped, 0)
    gradient = (by_share - (by_share * share).sum(axis=1, keepdims=True)) / total
    return -(target * np.log(clipped)).sum(axis=1), gradient


def _logits(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-sum(target * log_softmax(outputs))."""
    raised = outputs - outputs.max(axis=1, keepdims=True)
    logarithm = raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))
    gradient = np.exp(logarithm) * target.sum(axis=1, keepdims=True) - target
    return -(target * logarithm).sum(axis=1), gradient


def _binary(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-mean(target * log(p) + (1 - target) * log(1 - p)), p clipped."""
    p = np.clip(outputs, EPSILON, 1 - EPSILON)
    losses = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    by_output = np.where(outputs == p, (1 - target) / (1 - p) - target / p, 0)
    return losses.mean(axis=1), by_output / outputs.shape[1]


def _binary_logits(outputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of p = sigmoid(outputs), not clipped: log(p) = -log(1 + exp(-outputs))."""
    losses = target * np.logaddexp(0, -outputs) + (1 - target) * np.logaddexp(0, outputs)
    p = activation(Activation("sigmoid"), outputs)
    return losses.mean(axis=1), (p - target) / outputs.shape[1]


def correct(kind: str, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1.0 for each image whose prediction counts as accurate: (n,).

    outputs (n, classes); y as for ``loss``. The binary accuracy of an image is the share of its
    outputs that lie on the right side of 0.5.
    """
    if kind == "binary":
        return ((outputs > 0.5) == y).mean(axis=1)
    wanted = y if kind == "sparse" else y.argmax(axis=1)
    return (outputs.argmax(axis=1) == wanted).astype(np.float64)
