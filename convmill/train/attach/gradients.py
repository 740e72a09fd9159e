"""Losses and metrics as functions that Keras' backend compiles and derives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src import backend
from keras.src.trainers.compile_utils import CompileLoss


def has_bridge() -> bool:
    """Whether Keras' backend is one whose gradients we can ask for."""
    return bool(backend.backend() == "jax")


class _Seen(keras.StatelessScope):
    """A scope that nothing is assigned in, and that notes which variables are read."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: list[Any] = []

    def get_current_value(self, variable: Any) -> Any:
        self.variables.append(variable)
        return super().get_current_value(variable)


def compiled_loss(given: Any) -> Callable[[Any, Any, Any], Any]:
    """What ``compile`` was given as the loss of an output as a trainer computes it, of
    (predictions, y, sample_weight)."""
    loss = CompileLoss(given, output_names=["output"])

    return lambda predictions, y, weight: loss(y, predictions, weight)


def weights_read(model: Any, value: Callable[..., Any], batch: tuple[Any, ...]) -> list[Any]:
    """Weights of the model that ``value`` reads on a batch like this one."""
    import jax

    with _Seen() as seen:
        if model.jit_compile:
            jax.eval_shape(value, *batch)
        else:
            value(*(None if one is None else keras.ops.convert_to_tensor(one) for one in batch))
    own = {id(weight) for weight in model.weights}
    return [variable for variable in seen.variables if id(variable) in own]


def stateless(update: Callable[..., None], variables: Sequence[Any]) -> Callable[..., list[Any]]:
    """``update``, which assigns ``variables``, as a function that JAX compiles: of their values and
    its own arguments, to their values behind it."""
    import jax

    def updated(values: Sequence[Any], *arguments: Any) -> list[Any]:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            update(*arguments)
        return [scope.get_current_value(variable) for variable in variables]

    compiled: Callable[..., list[Any]] = jax.jit(updated)
    return compiled


def with_gradient(model: Any, value: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """``value`` and its gradient by its first argument; traced once for arrays of one kind, unless
    the model was compiled with ``jit_compile=False``."""
    import jax

    def assigning_nothing(*batch: Any) -> Any:
        with keras.StatelessScope():
            return value(*batch)

    found = jax.value_and_grad(assigning_nothing)
    traced: Callable[..., tuple[Any, Any]] = jax.jit(found) if model.jit_compile else found
    return traced
