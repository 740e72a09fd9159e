"""The loss that ``compile`` was given, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import losses

from convmill.plan.graph.shapes import Shape
from convmill.plan.recipe import Loss, LossName
from convmill.plan.refusals import NotCovered
from convmill.plan.written import is_keras_class
from convmill.train.attach.gradients import has_bridge
from convmill.train.compilation.numbers import check_number

# Keras' functions; its classes hold one of them, with arguments.
FUNCTIONS: dict[Callable[..., Any], LossName] = {
    losses.categorical_crossentropy: "categorical_crossentropy",
    losses.categorical_focal_crossentropy: "categorical_focal_crossentropy",
    losses.sparse_categorical_crossentropy: "sparse_categorical_crossentropy",
    losses.binary_crossentropy: "binary_crossentropy",
    losses.binary_focal_crossentropy: "binary_focal_crossentropy",
    losses.mean_squared_error: "mean_squared_error",
    losses.mean_absolute_error: "mean_absolute_error",
    losses.mean_absolute_percentage_error: "mean_absolute_percentage_error",
    losses.mean_squared_logarithmic_error: "mean_squared_logarithmic_error",
    losses.huber: "huber",
    losses.log_cosh: "log_cosh",
    losses.poisson: "poisson",
    losses.kl_divergence: "kl_divergence",
    losses.cosine_similarity: "cosine_similarity",
    losses.hinge: "hinge",
    losses.squared_hinge: "squared_hinge",
    losses.categorical_hinge: "categorical_hinge",
}
_REDUCTIONS: dict[str | None, Literal["mean", "sum"]] = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "sum": "sum",
}
LOSS_REMEDY = (
    "use a loss of keras.losses, such as categorical_crossentropy, "
    "sparse_categorical_crossentropy, binary_crossentropy or mean_squared_error"
)


# All that the train side knows of a loss that Keras computes: it is one number for a batch.
BRIDGED = Loss("bridged", reduction="sum")


def read_loss(given: Any, shape: Shape) -> Loss:
    """What ``compile`` was given as the loss of an output that is of ``shape`` for each image.

    What ``Loss`` cannot express is bridged: Keras computes it, where its backend is JAX.

    Raises:
        NotCovered: there is no loss, or Keras has to train with it.
        ValueError: a loss that Keras does not know, or a number outside its range.
    """
    try:
        return _native_loss(given, shape)
    except NotCovered as gap:
        if getattr(given, "reduction", "mean") in (None, "none"):
            raise  # no single number: Keras says so
        if not has_bridge():
            raise NotCovered(gap.reason, f"{gap.remedy}, or Keras on JAX") from gap
        return BRIDGED


def _native_loss(given: Any, shape: Shape) -> Loss:
    """The loss as native code computes it. Raises as ``read_loss`` does, and NotCovered for a loss,
    or an argument of it, that ``Loss`` cannot express."""
    given = _looked_up(given, shape)
    function, arguments = _function_of(given)
    name = FUNCTIONS.get(function)
    if name is None:
        title = getattr(given, "__name__", type(given).__name__)
        raise NotCovered(f"the loss {title}", LOSS_REMEDY)
    if name == "sparse_categorical_crossentropy" and shape[-1] == 1:
        raise NotCovered(
            f"{name} on an output of one unit", "use binary_crossentropy, or one unit for a class"
        )
    reduction: Literal["mean", "sum"] = "mean"
    if isinstance(given, losses.Loss):
        reduction = _reduction(name, given)
    return Loss(
        name,
        reduction=reduction,
        epsilon=keras.config.epsilon(),
        **_arguments(name, arguments, shape),
    )


def _function_of(given: Any) -> tuple[Any, Mapping[str, Any]]:
    """The function of Keras that a loss computes, and its arguments; None where it is no such."""
    if not isinstance(given, losses.Loss):
        return (given if hasattr(given, "__name__") else None), {}
    if not is_keras_class(type(given)):
        return None, {}
    # Their ``get_config`` leaves some of the arguments out.
    return getattr(given, "fn", None), getattr(given, "_fn_kwargs", {})


def _looked_up(given: Any, shape: Shape) -> Any:
    """The loss object or function, strings looked up."""
    if isinstance(given, type):
        return given()  # as Keras does
    if not isinstance(given, str):
        return given
    if given.lower() in ("crossentropy", "ce"):
        if shape[-1] != 1:
            raise NotCovered(
                f"loss={given!r}, which depends on the shape of the labels",
                'use "categorical_crossentropy" or "sparse_categorical_crossentropy"',
            )
        return losses.binary_crossentropy
    try:
        return losses.get(given)
    except ValueError:
        raise ValueError(
            f"loss is not one that Keras knows: {LOSS_REMEDY}. Received: loss={given!r}"
        ) from None


def _reduction(name: LossName, given: Any) -> Literal["mean", "sum"]:
    if given.reduction not in _REDUCTIONS:
        raise NotCovered(
            f"the loss {name} with reduction={given.reduction!r}",
            'use reduction="sum_over_batch_size" or "sum"',
        )
    if given.dtype != "float32":
        raise NotCovered(f"the loss {name} with dtype={given.dtype!r}", "leave dtype out")
    return _REDUCTIONS[given.reduction]


def _arguments(name: LossName, given: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """What a function of Keras is called with, as fields of a Loss."""
    found: dict[str, Any] = {}
    for argument, value in given.items():
        match argument:
            case "axis" if value in (-1, len(shape)):
                pass
            case "ignore_class" if value is None:
                pass
            case "from_logits":
                found["from_logits"] = bool(value)
            case "label_smoothing":
                found["label_smoothing"] = check_number(argument, value, 0, 1)
            case "delta" | "gamma":
                found[argument] = check_number(argument, value, 0)
            case "apply_class_balancing":
                found["balanced"] = bool(value)
            case "alpha" if np.shape(value) in ((), (1,), shape[-1:]):
                numbers = np.reshape(value, -1).tolist()
                found["alpha"] = tuple(check_number(argument, one, 0) for one in numbers)
            case _:
                raise NotCovered(
                    f"the loss {name} with {argument}={value!r}", f"leave {argument} out"
                )
    return found
