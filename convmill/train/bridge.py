"""Losses that Keras computes for a net that is compiled: the bridge between the two."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convmill.plan.refusals import NotCovered
from convmill.train.attach.gradients import compiled_loss, weights_read, with_gradient
from convmill.train.feed import Part
from convmill.train.samples import Samples


def name_of(given: Any) -> str:
    """The name of a loss, as ``compile`` was given it."""
    return given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)


class KerasLoss:
    """The loss of one of a model's outputs and its gradient, as Keras computes them on JAX.

    Keras traces a loss once for batches of one kind; so is this, and in the calling thread, before
    the run that needs it: then no code of the user's is left to run in the midst of it.
    """

    def __init__(self, model: Any, given: Any, output: int) -> None:
        self.name, self.jit = name_of(given), bool(model.jit_compile)
        self.output = output
        self._value = compiled_loss(given)
        self._derived = with_gradient(model, self._value)
        self._checked = False
        self._traced: set[Any] = set()  # kinds of batches

    def check(self, model: Any, samples: Samples, shape: tuple[int, ...]) -> None:
        """Tries the loss on samples of a ``model`` whose outputs are of ``shape`` an image.
        NotCovered where it reads the model's own weights: their gradients would be missing."""
        if self._checked:
            return
        batch = (_predictions(len(samples), shape), *self._rows(samples, slice(None)))
        read = weights_read(model, self._value, batch)
        if read:
            raise NotCovered(
                f"the loss {self.name} reads {read[0].path}, a weight of the model",
                "use a regularizer",
            )
        self._checked = True

    def prepare(self, part: Part, shape: tuple[int, ...]) -> None:
        """Traces the loss for all kinds of batches that a part holds."""
        if not self.jit:
            return
        count, size = len(part.order), part.batch_size
        for images in {min(size, count), count % size} - {0}:
            y, weight = self._rows(part.samples, part.order[:images])
            kind = tuple(None if one is None else (one.shape, one.dtype) for one in (y, weight))
            if (images, kind) not in self._traced:
                self._derived(_predictions(images, shape), y, weight)
                self._traced.add((images, kind))

    def of_batch(
        self, samples: Samples, order: np.ndarray, predictions: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The loss of the images that ``order`` picks, and its gradient by their predictions."""
        y, weight = self._rows(samples, order)
        value, gradient = self._derived(keras.ops.convert_to_tensor(predictions), y, weight)
        return float(value), np.asarray(gradient)

    def of_part(self, part: Part, outputs: np.ndarray) -> np.ndarray:
        """Float32 (m,): the loss of each batch at the place of its first image, else zeros."""
        found = np.zeros(len(part.order), np.float32)
        for start in range(0, len(part.order), part.batch_size):
            places = slice(start, start + part.batch_size)
            found[start] = self.of_batch(part.samples, part.order[places], outputs[places])[0]
        return found

    def _rows(
        self, samples: Samples, order: np.ndarray | slice
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels and weights of some images, as Keras would hand them to the loss."""
        assert samples.given is not None
        y, weights = samples.given[self.output], samples.given_weight
        weight = None if weights is None else weights[self.output]
        assert y is not None
        return y[order], None if weight is None else weight[order]


def _predictions(images: int, shape: tuple[int, ...]) -> np.ndarray:
    """Any predictions, to try a loss on."""
    return np.full((images, *shape), 0.5, np.float32)
