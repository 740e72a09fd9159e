"""The Outline of any Keras model."""

from __future__ import annotations

from typing import Any

from convmill.plan import read
from convmill.plan.graph import Shape
from convmill.plan.outline import Outline, outline


def describe(model: Any, input_shape: Shape | None = None) -> Outline:
    """The Outline of a Keras model; arguments and errors are those of ``read.describe``."""
    return outline(read.describe(model, input_shape), model.name)
