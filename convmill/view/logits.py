"""What a layer computes before its softmax or its sigmoid."""

from __future__ import annotations

from typing import Any

import keras

from convmill.design.steps import design_of
from convmill.plan.rebuild import same_random_state
from convmill.view.layers import calls, image_shape, model_before, model_to

# Activations that come as near to their largest value as one likes: any image that takes them there
# looks as good as another, and has no gradient.
SATURATING = {
    *("softmax", "log_softmax", "sparsemax"),
    *("sigmoid", "log_sigmoid", "hard_sigmoid", "sparse_sigmoid"),
}


def model_to_logits(model: Any, layer: str) -> tuple[Any, str]:
    """A model from the images to what ``layer`` computes before its softmax or its sigmoid, and the
    name of that activation; to its output, and "", where it has neither.

    The activation may be a layer of its own, an operation, or part of a layer of weights. One of a
    class that cannot be copied without its activation is taken with it. Raises as
    ``layers.model_to``.
    """
    step = design_of(model, image_shape(model)).step(layer)
    if step.activation not in SATURATING:
        return model_to(model, layer), ""
    before = model_before(model, layer)
    if step.kind == "activation":
        return before, step.activation
    logits = _logits(calls(model)[layer].layer, before.output)
    if logits is None:
        return model_to(model, layer), ""
    return keras.Model(before.inputs[0], logits, name=f"{before.name}_logits"), step.activation


def _logits(layer: Any, read: Any) -> Any:
    """What a copy of ``layer`` without activation makes of ``read``; None where it has no copy."""
    try:
        with same_random_state():
            copy = type(layer).from_config(layer.get_config() | {"activation": "linear"})
            written = copy(read)
    except (NotImplementedError, TypeError, ValueError):  # a user's class without a whole config
        return None
    for own, weight in zip(copy.weights, layer.weights, strict=True):
        own.assign(weight)
    return written
