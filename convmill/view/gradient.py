"""Gradients with respect to images, on each of Keras' three backends."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from convmill.view.images import check_finite

Array = NDArray[np.float32]
Score = Callable[[Any], Any]
Gradient = Callable[[Array], tuple[Array, Array]]


def gradient(model: Any, score: Score) -> Gradient:
    """The function that gives the outputs of ``model`` and the gradient of ``score`` of them.

    Args:
        model: a functional Keras model of one input and one output; it runs as in prediction.
        score: from the model's output, a tensor of Keras' backend, to one number; written with
            ``keras.ops``.

    Returns:
        a function from images (n, ...), float32, to (outputs (n, ...), gradient (n, ...)), the
        latter of score with respect to each pixel.

    Raises:
        ValueError: Keras' backend has no gradients, or the model reads whole numbers; from the
            function, where outputs or gradient are not finite.
    """
    backend = keras.backend.backend()
    if backend not in _BACKENDS:
        raise ValueError(
            f"Gradients need Keras on one of {', '.join(_BACKENDS)}. Received: backend {backend!r}."
        )
    read = str(model.inputs[0].dtype)
    if "float" not in read:  # float32, bfloat16
        raise ValueError(
            "Gradients need a model that reads real numbers: use keras.Input(shape, "
            f"dtype='float32'). Received: Input dtype {read}."
        )
    compute = _BACKENDS[backend](model, score)

    def checked(images: Array) -> tuple[Array, Array]:
        outputs, found = compute(images)
        check_finite(outputs, "model must give finite numbers")
        check_finite(found, "model must have finite gradients")
        return outputs, found

    return checked


def _jax(model: Any, score: Score) -> Gradient:
    import jax

    # arguments rather than constants, which XLA would try to fold into one another
    trainable = [variable.value for variable in model.trainable_variables]
    other = [variable.value for variable in model.non_trainable_variables]

    def scored(images: Any, trainable: Any, other: Any) -> tuple[Any, Any]:
        outputs, _ = model.stateless_call(trainable, other, images, training=False)
        return score(outputs), outputs

    compiled = jax.jit(jax.value_and_grad(scored, has_aux=True))

    def compute(images: Array) -> tuple[Array, Array]:
        (_, outputs), found = compiled(images, trainable, other)
        return keras.ops.convert_to_numpy(outputs), keras.ops.convert_to_numpy(found)

    return compute


def _tensorflow(model: Any, score: Score) -> Gradient:
    tensorflow = importlib.import_module("tensorflow")

    def compute(images: Array) -> tuple[Array, Array]:
        tensor = tensorflow.convert_to_tensor(images)
        with tensorflow.GradientTape() as tape:
            tape.watch(tensor)
            outputs = model(tensor, training=False)
            scored = score(outputs)
        return outputs.numpy(), tape.gradient(scored, tensor).numpy()

    return compute


def _torch(model: Any, score: Score) -> Gradient:
    torch = importlib.import_module("torch")

    def compute(images: Array) -> tuple[Array, Array]:
        tensor = keras.ops.convert_to_tensor(images).requires_grad_()
        with torch.enable_grad():
            outputs = model(tensor, training=False)
            # not backward(): that would leave gradients in the user's weights
            (found,) = torch.autograd.grad(score(outputs), tensor)
        return outputs.detach().cpu().numpy(), found.cpu().numpy()

    return compute


_BACKENDS: dict[str, Callable[[Any, Score], Gradient]] = {
    "jax": _jax,
    "tensorflow": _tensorflow,
    "torch": _torch,
}
