"""What plain Keras on JAX computes for a model: outputs, losses, gradients; in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from convmill.plan.read import Reading, read


def model_of(shape: tuple[int, ...], *layers: Any) -> tuple[keras.Sequential, Reading]:
    """A Sequential model and what we read from it."""
    model = keras.Sequential([keras.Input(shape), *layers])
    return model, read(model)


def assign(reading: Reading, values: Sequence[np.ndarray]) -> None:
    """Set the model's weights, in the order of the graph's parameters."""
    for variable, value in zip(reading.variables, values, strict=True):
        variable.assign(value)


def gradients(
    model: Any, values: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, loss: Callable
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses of all images (n,), and the gradients of their mean by the weights."""

    def objective(weights: Sequence[Any]) -> Any:
        outputs, _ = model.stateless_call(weights, [], x)
        each = loss(y, outputs)
        return each.mean(), each

    arrays = [jax.numpy.asarray(value) for value in values]
    (_, each), found = jax.jit(jax.value_and_grad(objective, has_aux=True))(arrays)
    return np.asarray(each), [np.asarray(one) for one in found]


def pulled_back(layer: Callable, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Gradient of x from that of ``layer(x)``, both with a batch."""

    def pull(x: Any, gradient: Any) -> Any:
        return jax.vjp(layer, x)[1](gradient)[0]

    return np.asarray(jax.jit(pull)(x, gradient))
