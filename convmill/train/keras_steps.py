"""Steps that Keras' own optimizer makes, on gradients that native code has computed ("bridged").

So train the optimizers that are no rule for each weight by itself, those of the user's own, and
weights with constraints or regularizers of the user's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

Moved = list[tuple[Any, Any]]  # variables, with what is to be assigned to them


class KerasSteps:
    """The steps of ``optimizer`` on the trained ``weights`` of one model.

    ``regularizers`` are those that native code leaves out, None for a weight without one. With
    ``jit`` JAX compiles the step, once.
    """

    def __init__(
        self, optimizer: Any, weights: Sequence[Any], regularizers: Sequence[Any], jit: bool
    ) -> None:
        self.optimizer, self.weights, self.regularizers = optimizer, weights, regularizers
        self._jit = jit
        self._apply: Callable[..., Any] | None = None

    def regularize(self, gradients: Sequence[np.ndarray]) -> tuple[list[np.ndarray], float]:
        """The gradients with the slopes of the regularizers, and the regularizers' loss."""
        found, loss = [], 0.0
        for gradient, weight, regularizer in zip(
            gradients, self.weights, self.regularizers, strict=True
        ):
            if regularizer is not None:
                value, slope = value_and_slope(regularizer, weight)
                gradient, loss = gradient + slope, loss + value
            found.append(gradient)
        return found, loss

    def step(self, gradients: Sequence[np.ndarray]) -> Moved:
        """What one step makes of the weights and of the optimizer's state, still to be assigned;
        on TensorFlow and PyTorch it is assigned already.

        Raises ValueError where the optimizer, which must be built, was built on other weights.
        """
        optimizer = self.optimizer
        scale = float(keras.ops.convert_to_numpy(optimizer.scale_loss(1.0)))
        scaled = [keras.ops.convert_to_tensor(each * np.float32(scale)) for each in gradients]
        if keras.backend.backend() != "jax":
            optimizer.apply(scaled, list(self.weights))
            return []
        built, state = self._built(), optimizer.variables
        given = {id(weight): one for weight, one in zip(self.weights, scaled, strict=True)}
        weights, own = self._stateless()(
            [one.value for one in state],
            [given[id(one)] for one in built],
            [one.value for one in built],
        )
        return list(zip((*built, *state), (*weights, *own), strict=True))

    def _built(self) -> list[Any]:
        """The weights in the order in which the optimizer was built on them."""
        built: list[Any] = self.optimizer._trainable_variables
        if {id(one) for one in built} != {id(one) for one in self.weights}:
            raise ValueError(
                "The optimizer was built on other variables than the model trains now. Compile "
                "the model again after freezing or adding layers. Received: an optimizer built on "
                f"{len(built)} variables, for a model that trains {len(self.weights)}"
            )
        return built

    def _stateless(self) -> Callable[..., Any]:
        if self._apply is None:
            import jax

            apply = self.optimizer.stateless_apply
            self._apply = jax.jit(apply) if self._jit else apply
        assert self._apply is not None
        return self._apply


# The slope of one regularizer ---------------------------------------------------------------------


def value_and_slope(regularizer: Any, weight: Any) -> tuple[float, np.ndarray]:
    """A regularizer's loss for a Keras variable, and its gradient, float32 of its shape."""
    value, slope = _BACKENDS[keras.backend.backend()](regularizer, weight.value)
    return float(value), np.asarray(keras.ops.convert_to_numpy(slope), np.float32)


def _jax(regularizer: Any, weight: Any) -> tuple[Any, Any]:
    import jax

    found: tuple[Any, Any] = jax.value_and_grad(regularizer)(weight)
    return found


def _tensorflow(regularizer: Any, weight: Any) -> tuple[Any, Any]:
    tensorflow = importlib.import_module("tensorflow")
    tensor = tensorflow.convert_to_tensor(weight)
    with tensorflow.GradientTape() as tape:
        tape.watch(tensor)
        value = regularizer(tensor)
    return value, tape.gradient(value, tensor)


def _torch(regularizer: Any, weight: Any) -> tuple[Any, Any]:
    torch = importlib.import_module("torch")
    tensor = weight.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = regularizer(tensor)
    return value.detach(), torch.autograd.grad(value, tensor)[0]


_BACKENDS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "jax": _jax,
    "tensorflow": _tensorflow,
    "torch": _torch,
}
