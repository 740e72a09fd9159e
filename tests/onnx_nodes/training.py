"""Losses by ``evaluate``, steps of optimizers and statistics by ``train_on_batch``."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from tests.onnx_nodes.expressed import Array, Expressed, Node, last, need, strict

FAR_BELOW = -1000.0
LATE = 10**6  # steps, after which Adam's correction of its means is 1


def cross_entropy(node: Node) -> Expressed:
    """SoftmaxCrossEntropyLoss: the loss; the logarithms that it may hand out are left aside."""
    scores, labels, weight = last(node.inputs[0]), node.inputs[1], node.input(2)
    reduction, ignored = node.text("reduction", "mean"), node.attributes.get("ignore_index")
    weights = None if weight is None else weight[labels.clip(0, len(weight) - 1)]
    if ignored is not None:
        kept = labels != ignored
        weights = kept.astype(np.float32) if weights is None else weights * kept
        labels = np.where(kept, labels, 0)
    if reduction == "none":
        need(scores.ndim == 2, "a loss for each place")
        return Expressed(lambda: [_each(scores, labels, weights)], [node.outputs[0]])
    ours = {"sum": "sum", "mean": "sum_over_batch_size"}[reduction]
    if reduction == "mean" and weights is not None:
        ours = "mean_with_sample_weight"
    return Expressed(
        lambda: [np.float32(_evaluated(scores, labels, weights, ours))], [node.outputs[0]]
    )


def _evaluated(scores: Array, labels: Array, weights: Any, reduction: str) -> float:
    model = keras.Sequential([keras.Input(scores.shape[1:]), layers.Activation("linear")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    model.compile("sgd", loss)
    return strict(model).evaluate(
        scores, labels, sample_weight=weights, batch_size=len(scores), verbose=0
    )


def _each(scores: Array, labels: Array, weights: Any) -> Array:
    weights = np.ones(len(scores), np.float32) if weights is None else weights
    rows = [slice(at, at + 1) for at in range(len(scores))]
    return np.array([_evaluated(scores[r], labels[r], weights[r], "sum") for r in rows], np.float32)


def statistics(node: Node) -> Expressed:
    """BatchNormalization in training: the moving mean and variance that a step leaves."""
    x, *weights = node.inputs
    epsilon, momentum = node.attributes.get("epsilon", 1e-5), node.attributes.get("momentum", 0.9)
    norm = layers.BatchNormalization(epsilon=epsilon, momentum=momentum)
    model = keras.Sequential([keras.Input(last(x).shape[1:]), norm])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    norm.set_weights(weights)

    def run() -> list[Array]:
        strict(model).train_on_batch(last(x), np.zeros_like(last(x)))
        return [norm.moving_mean.numpy(), norm.moving_variance.numpy()]

    return Expressed(run, node.outputs[1:])


def adam(node: Node) -> Expressed:
    need(int(node.inputs[1]) == 0, "without correction, which is 1 after many steps, only")
    optimizer = {
        "beta_1": node.attributes.get("alpha", 0.9),
        "beta_2": node.attributes.get("beta", 0.999),
        "epsilon": node.attributes.get("epsilon", 1e-6),
    }
    return _steps(node, 2, lambda rate: keras.optimizers.Adam(rate, **optimizer), iterations=LATE)


def momentum(node: Node) -> Expressed:
    """ONNX keeps the sum of gradients, Keras that sum times the negative rate."""
    need(node.attributes["beta"] == 1 or int(node.inputs[1]) == 0, "gradients are scaled")
    alpha, nesterov = node.attributes["alpha"], node.text("mode", "standard") == "nesterov"
    rate = float(node.inputs[0])
    return _steps(
        node, 1, lambda _: keras.optimizers.SGD(rate, alpha, nesterov=nesterov), slot=-rate
    )


def _steps(node: Node, slots: int, make: Any, iterations: int = 0, slot: float = 1.0) -> Expressed:
    """A step for each tensor: its weights and slots; ``slot`` is what Keras' are times ONNX's."""
    rate, decay = float(node.inputs[0]), node.attributes.get("norm_coefficient", 0.0)
    need(not node.attributes.get("norm_coefficient_post"), "decay behind the step")
    count = (len(node.inputs) - 2) // (2 + slots)
    groups = [node.inputs[2 + at * count : 2 + (at + 1) * count] for at in range(2 + slots)]

    def run() -> list[Array]:
        found = [
            _step(make(rate), decay, iterations, slot, *each) for each in zip(*groups, strict=True)
        ]
        return [array for kind in zip(*found, strict=True) for array in kind]

    return Expressed(run, node.outputs)


def _step(
    optimizer: Any, decay: float, iterations: int, slot: float, w: Array, g: Array, *held: Array
) -> list[Array]:
    """One Dense unit: with the loss |w . x - y| and y far below, x itself is the gradient."""
    dense = layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(decay / 2))
    model = keras.Sequential([keras.Input(w.shape), dense])
    model.compile(optimizer, "mae")
    optimizer.build(model.trainable_variables)
    dense.kernel.assign(w[:, None])
    kept = [variable for variable in optimizer.variables if variable.shape == dense.kernel.shape]
    for variable, value in zip(kept, held, strict=True):
        variable.assign(slot * value[:, None])
    optimizer.iterations.assign(iterations)
    strict(model).train_on_batch(g[None], np.full((1, 1), FAR_BELOW, np.float32))
    return [dense.kernel.numpy()[:, 0], *(variable.numpy()[:, 0] / slot for variable in kept)]
