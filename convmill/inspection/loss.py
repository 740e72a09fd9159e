"""Which cross-entropy a Keras model was compiled with."""

from __future__ import annotations

from typing import Any, Literal

from keras import losses

from convmill.inspection.findings.finding import Loss

_KINDS: dict[Any, Literal["categorical", "binary"]] = {
    losses.CategoricalCrossentropy: "categorical",
    losses.categorical_crossentropy: "categorical",
    losses.SparseCategoricalCrossentropy: "categorical",
    losses.sparse_categorical_crossentropy: "categorical",
    losses.BinaryCrossentropy: "binary",
    losses.binary_crossentropy: "binary",
}


def read_loss(model: Any) -> Loss | None:
    """The cross-entropy in ``model.compile(loss=...)``; None for any other loss, several, or none.

    Where its kind depends on the labels ("crossentropy") it is not known here either.
    """
    given = getattr(model, "loss", None)
    if isinstance(given, str):
        try:
            given = losses.get(given)
        except ValueError:  # also fit will say that there is no such loss
            return None
    if isinstance(given, losses.Loss):
        kind = _KINDS.get(type(given))
        return Loss(kind, bool(given.get_config()["from_logits"])) if kind else None
    kind = _KINDS.get(given) if callable(given) else None
    return Loss(kind, from_logits=False) if kind else None
