"""A net of the benchmark as a plain JAX function that gives logits; not every layer."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.costs import Shape, layer_cost
from benchmarks.nets import (
    Act,
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Net,
)

Weights = list[tuple[jax.Array, ...]]
Update = Callable[[Weights, list, Weights], tuple[Weights, list]]


def _glorot(key: jax.Array, shape: Shape) -> jax.Array:
    area = math.prod(shape[:-2])
    limit = math.sqrt(6 / (area * (shape[-2] + shape[-1])))
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def initial_weights(net: Net, key: jax.Array) -> Weights:
    """For each layer its (kernel, bias), or (). Raises TypeError for a layer not written here."""
    weights: Weights = []
    shape: Shape = net.input_shape
    for layer, layer_key in zip(net.layers, jax.random.split(key, len(net.layers)), strict=True):
        match layer:
            case Conv():
                kernel = (*layer.kernel, shape[2], layer.filters)
                weights.append((_glorot(layer_key, kernel), jnp.zeros(layer.filters)))
            case Dense():
                weights.append(
                    (_glorot(layer_key, (shape[0], layer.units)), jnp.zeros(layer.units))
                )
            case Act() | AveragePool() | Dropout() | Flatten() | GlobalAveragePool() | MaxPool():
                weights.append(())
            case _:
                raise TypeError(f"the hand-written JAX step has no {type(layer).__name__}")
        shape = layer_cost(layer, shape).output
    return weights


def _activate(x: jax.Array, activation: str) -> jax.Array:
    return jax.nn.relu(x) if activation == "relu" else x


def _max_pool(x: jax.Array, size: tuple[int, int], training: bool) -> jax.Array:
    """Each of two equal ways where XLA's CPU code for it is the faster one.

    The gradient of `reduce_window` is a slow scatter (on two Zen 4 cores the notebook's net trained
    at 960 images/s with it, at 2,580 without), but its forward pass alone is the quicker one
    (22,900 against 13,400 images/s evaluating).
    """
    if not training:
        window = (1, *size, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    n, height, width, channels = x.shape
    rows, columns = height // size[0], width // size[1]
    whole = x[:, : rows * size[0], : columns * size[1]]
    return whole.reshape(n, rows, size[0], columns, size[1], channels).max((2, 4))


def _apply(
    layer: Layer, weights: tuple[jax.Array, ...], x: jax.Array, key: jax.Array | None
) -> jax.Array:
    match layer:
        case Conv():
            strides = (layer.stride, layer.stride)
            numbers = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(
                x, weights[0], strides, layer.padding.upper(), dimension_numbers=numbers
            )
            return _activate(x + weights[1], layer.activation)
        case Dense():
            return _activate(x @ weights[0] + weights[1], layer.activation)
        case Act():
            return _activate(x, layer.activation)
        case MaxPool():
            return _max_pool(x, layer.size, training=key is not None)
        case AveragePool():
            window = (1, *layer.size, 1)
            return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / math.prod(
                layer.size
            )
        case GlobalAveragePool():
            return x.mean((1, 2))
        case Flatten():
            return x.reshape(x.shape[0], -1)
        case Dropout() if key is not None:
            keep = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
            return jnp.where(keep, x / (1 - layer.rate), 0)
        case _:
            return x


def logits(net: Net, weights: Weights, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """(n, height, width, channels) -> (n, classes); with a key, the pass of training."""
    for index, (layer, layer_weights) in enumerate(zip(net.layers, weights, strict=True)):
        x = _apply(layer, layer_weights, x, None if key is None else jax.random.fold_in(key, index))
    return x


def optimizer(net: Net, weights: Weights) -> tuple[list, Update]:
    """The optimizer's first state, and its update (weights, state, gradients), as in Keras."""
    rate, epsilon = net.learning_rate, 1e-7
    tree = jax.tree.map

    def zeros() -> Weights:
        return tree(jnp.zeros_like, weights)

    def sgd(w: Weights, state: list, g: Weights) -> tuple[Weights, list]:
        return tree(lambda w, g: w - rate * g, w, g), state

    def rmsprop(w: Weights, state: list, g: Weights) -> tuple[Weights, list]:
        mean = tree(lambda v, g: 0.9 * v + 0.1 * g * g, state[0], g)
        return tree(lambda w, v, g: w - rate * g * lax.rsqrt(v + epsilon), w, mean, g), [mean]

    def adam(w: Weights, state: list, g: Weights) -> tuple[Weights, list]:
        count = state[0] + 1
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, state[1], g)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, state[2], g)
        step = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        moved = tree(lambda w, m, v: w - step * m / (jnp.sqrt(v) + epsilon), w, first, second)
        return moved, [count, first, second]

    match net.optimizer:
        case "sgd":
            return [], sgd
        case "rmsprop":
            return [zeros()], rmsprop
        case "adam":
            return [jnp.zeros(()), zeros(), zeros()], adam
