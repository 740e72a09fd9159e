"""Which cross-entropy a Keras model was compiled with."""

from __future__ import annotations

from typing import Any, Literal

from keras import losses

from convmill.inspection.findings.finding import CrossEntropy

_KINDS: dict[type, Literal["categorical", "binary"]] = {
    losses.CategoricalCrossentropy: "categorical",
    losses.SparseCategoricalCrossentropy: "categorical",
    losses.CategoricalFocalCrossentropy: "categorical",
    losses.BinaryCrossentropy: "binary",
    losses.BinaryFocalCrossentropy: "binary",
}
# Functions, and the classes that compute the same with their default arguments.
_FUNCTIONS: tuple[tuple[Any, type[losses.Loss]], ...] = (
    (losses.categorical_crossentropy, losses.CategoricalCrossentropy),
    (losses.sparse_categorical_crossentropy, losses.SparseCategoricalCrossentropy),
    (losses.categorical_focal_crossentropy, losses.CategoricalFocalCrossentropy),
    (losses.binary_crossentropy, losses.BinaryCrossentropy),
    (losses.binary_focal_crossentropy, losses.BinaryFocalCrossentropy),
)


def given_loss(model: Any) -> Any:
    """What ``model.compile`` was given as its loss, out of a list of one; None where it was not."""
    given = getattr(model, "loss", None)
    return given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given


def read_loss(model: Any) -> CrossEntropy | None:
    """The cross-entropy in ``model.compile(loss=...)``; None for any other loss, several, or none.

    Where its kind depends on the labels ("crossentropy") it is not known here either.
    """
    given = given_loss(model)
    if isinstance(given, str):
        try:
            given = losses.get(given)
        except ValueError:  # also fit will say that there is no such loss
            return None
    given = next((kind() for function, kind in _FUNCTIONS if function is given), given)
    kind = _KINDS.get(type(given))
    return None if kind is None else _settings(kind, given.get_config())


def _settings(
    kind: Literal["categorical", "binary"], config: dict[str, Any]
) -> CrossEntropy | None:
    """The loss with its arguments; None for a focal loss that weighs answers differently."""
    alpha, gamma = config.get("alpha", 1.0), config.get("gamma", 0.0)
    if kind == "binary":
        # there alpha is used with this argument alone, and is for one of the answers
        if config.get("apply_class_balancing"):
            return None
        alpha = 1.0
    if not isinstance(alpha, (int, float)):  # one for each class
        return None
    return CrossEntropy(kind, bool(config["from_logits"]), float(alpha), float(gamma))
