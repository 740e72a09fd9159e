"""What a node of ONNX becomes: a Keras net, what it reads, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Array = np.ndarray


class NotExpressed(Exception):
    """Keras has no net with this meaning; the message says why."""


@dataclass(frozen=True)
class Node:
    """An operation, its inputs in order (None where it leaves one out), the golden outputs, and
    its attributes."""

    name: str
    operation: str
    inputs: tuple[Any, ...]
    outputs: tuple[Array, ...]
    attributes: dict[str, Any]

    def input(self, index: int) -> Any:
        """That input; None where the node has none."""
        return self.inputs[index] if index < len(self.inputs) else None

    def text(self, name: str, default: str) -> str:
        """An attribute that is text."""
        given = self.attributes.get(name, default)
        return given.decode() if isinstance(given, bytes) else given


@dataclass(frozen=True)
class Expressed:
    """``run()`` gives what the compiled net computes; ``golden`` is what it must be."""

    run: Callable[[], Sequence[Array]]
    golden: Sequence[Array]


def predicted(layer: Any, inputs: Sequence[Array], golden: Array, weights: Any = ()) -> Expressed:
    """What ``layer`` (or a list of layers, or a function of tensors) makes of ``inputs``, whose
    first axis counts images; ``weights`` are those of the first layer that has any."""
    tensors = [keras.Input(array.shape[1:]) for array in inputs]
    given = tensors[0] if len(tensors) == 1 else tensors
    for step in layer if isinstance(layer, list) else [layer]:
        given = step(given)
    model = keras.Model(tensors, given)
    if len(weights):
        next(each for each in model.layers if each.weights).set_weights(weights)
    x = inputs[0] if len(inputs) == 1 else list(inputs)
    return Expressed(lambda: [strict(model).predict(x, verbose=0)], [golden])


def strict(model: Any) -> Any:
    """The model, compiled or NotCovered."""
    import convmill

    return convmill.accelerate(model, strict=True)


def last(array: Array) -> Array:
    """Channels last: (n, c, h, w) -> (n, h, w, c), as Keras lays images out."""
    return np.moveaxis(array, 1, -1)


def need(whether: bool, why: str) -> None:
    """Raises NotExpressed unless ``whether``."""
    if not whether:
        raise NotExpressed(why)
