"""The losses of Keras with their gradients, and its accuracies, place by place, in float64.

Formulas: keras.losses and Keras' JAX backend. Probabilities are normalised (not for the binary
loss), then clipped to [epsilon, 1 - epsilon] before their logarithm is taken. A place is what lies
along the last axis of an output.
"""

from __future__ import annotations

import numpy as np

from convmill.plan.graph.activations import Activation
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
        case "categorical_focal_crossentropy":
            target = target * (1 - spec.label_smoothing) + spec.label_smoothing / outputs.shape[1]
            return _focal(spec, outputs, target)
        case "cosine_similarity":
            return _cosine(outputs, target, spec.epsilon)
        case "categorical_hinge":
            return _categorical_hinge(outputs, target)
    if spec.name == "binary_focal_crossentropy":
        target = target * (1 - spec.label_smoothing) + 0.5 * spec.label_smoothing
    term, slope = TERMS[spec.name](spec, outputs, target)
    if spec.name == "kl_divergence":
        return term.sum(axis=1), slope
    return term.mean(axis=1), slope / outputs.shape[1]


Both = tuple[np.ndarray, np.ndarray]


def _absolute(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    # JAX takes 1 as the slope of |y - x| by y - x at 0
    return np.abs(x - y), np.where(x > y, 1.0, -1.0)


def _percentage(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    size = np.maximum(np.abs(y), spec.epsilon) / 100
    return np.abs(x - y) / size, np.where(x > y, 1.0, -1.0) / size


def _logarithmic(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    high = np.maximum(x, spec.epsilon)
    gap = np.log1p(high) - np.log1p(np.maximum(y, spec.epsilon))
    return gap**2, np.where(x > spec.epsilon, 2 * gap / (high + 1), 0.0)


def _huber(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    gap, size, delta = x - y, np.abs(x - y), spec.delta
    near = size <= delta
    term = np.where(near, gap**2 / 2, delta * size - delta**2 / 2)
    return term, np.where(near, gap, delta * np.sign(gap))


def _log_cosh(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    return np.logaddexp(x - y, y - x) - np.log(2), np.tanh(x - y)


def _poisson(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    return x - y * np.log(x + spec.epsilon), 1 - y / (x + spec.epsilon)


def _divergence(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    x, slope = _clip(x, spec.epsilon, 1.0)
    y = np.clip(y, spec.epsilon, 1.0)
    return y * np.log(y / x), -slope * y / x


def _hinge(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    rest = 1 - x * y
    slope = np.where(rest > 0, 1.0, np.where(rest == 0, 0.5, 0.0))
    term, slope = np.maximum(rest, 0), -y * slope
    return (term**2, 2 * term * slope) if spec.name == "squared_hinge" else (term, slope)


def _binary_focal(spec: Loss, x: np.ndarray, y: np.ndarray) -> Both:
    p = activation(Activation("sigmoid"), x) if spec.from_logits else x
    clipped, open_ = _clip(p, spec.epsilon, 1 - spec.epsilon)
    entropy = -y * np.log(clipped) - (1 - y) * np.log(1 - clipped)
    slope = open_ * ((1 - y) / (1 - clipped) - y / clipped)
    rest = 1 - (y * p + (1 - y) * (1 - p))
    focus, turn = rest**spec.gamma, spec.gamma * rest ** (spec.gamma - 1) * (1 - 2 * y)
    weight = y * spec.alpha[0] + (1 - y) * (1 - spec.alpha[0]) if spec.balanced else 1.0
    inner = p * (1 - p) if spec.from_logits else 1.0
    return weight * focus * entropy, weight * inner * (turn * entropy + focus * slope)


TERMS = {
    "mean_squared_error": lambda spec, x, y: ((x - y) ** 2, 2 * (x - y)),
    "mean_absolute_error": _absolute,
    "mean_absolute_percentage_error": _percentage,
    "mean_squared_logarithmic_error": _logarithmic,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "poisson": _poisson,
    "kl_divergence": _divergence,
    "hinge": _hinge,
    "squared_hinge": _hinge,
    "binary_focal_crossentropy": _binary_focal,
}


def _focal(spec: Loss, outputs: np.ndarray, target: np.ndarray) -> Both:
    """-sum(alpha * (1 - q)^gamma * target * log(q)), q clipped shares."""
    p = activation(Activation("softmax"), outputs) if spec.from_logits else outputs
    total = p.sum(axis=1, keepdims=True)
    share = p / total
    q, slope = _clip(share, spec.epsilon, 1 - spec.epsilon)
    weight = np.array(spec.alpha) * target
    focus, turn = (1 - q) ** spec.gamma, spec.gamma * (1 - q) ** (spec.gamma - 1)
    by_share = slope * weight * (turn * np.log(q) - focus / q)
    by_share = by_share - (by_share * share).sum(axis=1, keepdims=True)
    gradient = by_share * share if spec.from_logits else by_share / total
    return -(weight * focus * np.log(q)).sum(axis=1), gradient


def _cosine(outputs: np.ndarray, target: np.ndarray, epsilon: float) -> Both:
    """-sum(x * y), both divided by their norms."""
    norms = [np.linalg.norm(one, axis=1, keepdims=True) for one in (outputs, target)]
    x, y = outputs / norms[0], target / np.maximum(norms[1], epsilon)
    cosine = (x * y).sum(axis=1, keepdims=True)
    return -cosine[:, 0], (cosine * x - y) / norms[0]


def _categorical_hinge(outputs: np.ndarray, target: np.ndarray) -> Both:
    """max(1 + max((1 - y) x) - sum(x y), 0); what is largest shares its gradient."""
    away = (1 - target) * outputs
    highest = away.max(axis=1, keepdims=True)
    largest = away == highest
    losses = 1 + highest[:, 0] - (target * outputs).sum(axis=1)
    slope = largest / largest.sum(axis=1, keepdims=True) * (1 - target) - target
    return np.maximum(losses, 0), np.where(losses[:, None] > 0, slope, 0.0)


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
