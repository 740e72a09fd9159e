"""The loss that ``compile`` was given, as data."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import losses

from convmill.plan.graph import NotCovered, Shape
from convmill.plan.recipe import Loss, LossName
from convmill.train.compilation.numbers import check_number

_LOSSES: dict[Any, LossName] = {
    losses.CategoricalCrossentropy: "categorical_crossentropy",
    losses.categorical_crossentropy: "categorical_crossentropy",
    losses.SparseCategoricalCrossentropy: "sparse_categorical_crossentropy",
    losses.sparse_categorical_crossentropy: "sparse_categorical_crossentropy",
    losses.BinaryCrossentropy: "binary_crossentropy",
    losses.binary_crossentropy: "binary_crossentropy",
    losses.MeanSquaredError: "mean_squared_error",
    losses.mean_squared_error: "mean_squared_error",
    losses.MeanAbsoluteError: "mean_absolute_error",
    losses.mean_absolute_error: "mean_absolute_error",
}

_LOSS_REMEDY = (
    "use categorical_crossentropy, sparse_categorical_crossentropy, binary_crossentropy, "
    "mean_squared_error or mean_absolute_error"
)


def read_loss(model: Any, shape: Shape) -> Loss:
    """The loss of a compiled model whose output is of ``shape`` for each image.

    Raises:
        NotCovered: a loss, or an argument of it, that ``Loss`` cannot express.
        ValueError: a loss that Keras does not know, or a number outside its range.
    """
    given = _given_loss(model, shape)
    name = _LOSSES.get(given if callable(given) and hasattr(given, "__name__") else type(given))
    if name is None:
        title = getattr(given, "__name__", type(given).__name__)
        raise NotCovered(f"the loss {title}", _LOSS_REMEDY)
    if name == "sparse_categorical_crossentropy" and shape[-1] == 1:
        raise NotCovered(
            f"{name} on an output of one unit", "use binary_crossentropy, or one unit for a class"
        )
    if not isinstance(given, losses.Loss):
        return Loss(name, epsilon=keras.config.epsilon())
    return _loss_with_arguments(name, given)


def _given_loss(model: Any, shape: Shape) -> Any:
    """The loss object or function that ``compile`` was given, strings looked up."""
    given = getattr(model, "loss", None)
    if given is None:
        raise NotCovered("the model was compiled without a loss", _LOSS_REMEDY)
    if isinstance(given, (list, tuple, dict)):
        raise NotCovered(f"loss={given!r}", "pass one loss, not in a list or a dict")
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
            f"loss is not one that Keras knows: {_LOSS_REMEDY}. Received: loss={given!r}"
        ) from None


def _loss_with_arguments(name: LossName, given: Any) -> Loss:
    config = given.get_config()
    reductions: dict[str, Literal["mean", "sum"]] = {
        "sum_over_batch_size": "mean",
        "mean": "mean",
        "sum": "sum",
    }
    if given.reduction not in reductions:
        raise NotCovered(
            f"the loss {name} with reduction={given.reduction!r}",
            'use reduction="sum_over_batch_size" or "sum"',
        )
    if given.dtype != "float32":
        raise NotCovered(f"the loss {name} with dtype={given.dtype!r}", "leave dtype out")
    for argument, plain in (("axis", -1), ("ignore_class", None)):
        if config.get(argument, plain) != plain:
            raise NotCovered(
                f"the loss {name} with {argument}={config[argument]!r}", f"leave {argument} out"
            )
    return Loss(
        name,
        from_logits=bool(config.get("from_logits", False)),
        label_smoothing=check_number("label_smoothing", config.get("label_smoothing", 0.0), 0, 1),
        reduction=reductions[given.reduction],
        epsilon=keras.config.epsilon(),
    )
