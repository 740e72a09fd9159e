"""What a measure is given: a trained net with its data; and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.study.result import Axes, Rows


@dataclass(frozen=True)
class Measured:
    """One number, and a map of numbers with its axes where there is one."""

    value: float
    map: Rows | None = None
    axes: Axes | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A net after its training.

    Attributes:
        model: the Keras model; whatever it predicts is computed compiled, on one thread.
        x_train, x_test: images as the model reads them, float32 (n, ...).
        labels_train, labels_test: class indices (n,).
        y_train, y_test: the same as the model's loss reads them.
        class_names: in the order of the indices.
        curves: by Keras' names, one number an epoch; ``val_`` are those of the test images.
        epoch_seconds: of training alone, one an epoch.
        stored_test: the test images as they were before a canvas, (n, height, width, ...).
        canvas: height and width of that canvas; None where there is none.
        first_kernel: the weights that the first layer with a kernel began with.
        options: what the arm says for measures, by their names.
    """

    model: Any
    x_train: NDArray[np.float32]
    labels_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[np.float32]
    labels_test: NDArray[Any]
    y_test: NDArray[Any]
    class_names: tuple[str, ...]
    curves: Mapping[str, tuple[float, ...]]
    epoch_seconds: tuple[float, ...]
    stored_test: NDArray[Any]
    canvas: int | None
    first_kernel: NDArray[np.float32]
    options: Mapping[str, Any]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which of the test images are told right, (n,)."""
        return self.told_right(self.x_test, self.labels_test)

    def told_right(self, images: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of these images, (n, ...), are told right, (n,)."""
        outputs = np.asarray(self.model.predict(images, batch_size=256, verbose=0))
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0.5) == labels
        return outputs.argmax(axis=1) == labels


def first_kernel(model: Any) -> Any:
    """The weights of the first layer that has a kernel, as an array; empty where none has."""
    kernels = (weight for weight in model.weights if weight.name.endswith("kernel"))
    found = next(kernels, None)
    return np.empty(0, np.float32) if found is None else np.array(found)
