"""How much a map of a trained net tells a linear classifier, pooled in one way or another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.study.errors import StudyError
from convmill.study.fields import check_keys, choice, subtable, whole
from convmill.study.measures.trained import Measured, Trained

KEYS = ("pooling", "convolution", "window", "images")
CONVOLUTION, WINDOW, IMAGES = 2, 4, 5000
ITERATIONS = 300
TOLERANCE = 1e-5  # of the gradient, an image
WHERE = "options.probe_accuracy"


def probe_accuracy(trained: Trained) -> Measured:
    """Test accuracy of a logistic regression on pooled values of a convolution's map.

    Options: ``pooling`` ("max" or "average"), over windows of ``window`` x ``window``;
    ``convolution``: the map of the first, the second, ...; ``images``: how many to learn from.
    """
    asked = _read_options(trained.options)
    images = asked.images
    features = _features(trained.model, asked)
    x, x_test = (
        np.asarray(features.predict(x, batch_size=256, verbose=0)).reshape(len(x), -1)
        for x in (trained.x_train[:images], trained.x_test)
    )
    found = classified(x, trained.labels_train[:images], x_test) == trained.labels_test
    return Measured(float(found.mean()))


def classified(x: np.ndarray, labels: np.ndarray, x_test: np.ndarray) -> NDArray[np.int64]:
    """The classes of ``x_test`` (m, features) by logistic regression on ``x`` (n, features), int
    labels (n,): features of mean 0 and deviation 1, cross-entropy summed over the images and half
    the squares of the weights, by L-BFGS.
    """
    from scipy.optimize import minimize

    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    known, asked = ((one - mean) / scale for one in (x, x_test))
    classes, numbers = np.unique(labels, return_inverse=True)
    places = np.arange(len(known)), numbers
    shape = (known.shape[1] + 1, len(classes))  # the last row is the bias

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = known @ weights[:-1] + weights[-1]
        logits -= logits.max(axis=1, keepdims=True)
        error = np.exp(logits)
        sums = error.sum(axis=1, keepdims=True)
        cost = float(np.log(sums).sum() - logits[places].sum())
        error /= sums
        error[places] -= 1.0
        gradient = np.concatenate([known.T @ error + weights[:-1], [error.sum(axis=0)]])
        return cost + 0.5 * float(np.square(weights[:-1]).sum()), gradient.ravel()

    options = {"maxiter": ITERATIONS, "gtol": TOLERANCE * len(known)}
    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    weights = found.x.reshape(shape)
    return classes[(asked @ weights[:-1] + weights[-1]).argmax(axis=1)]


def check_convolution(model: Any, canvas: int | None, options: Mapping[str, Any]) -> None:
    """Raises StudyError for wrong options, and where there is no such map."""
    _features(model, _read_options(options))


@dataclass(frozen=True)
class _Options:
    pooling: str
    convolution: int
    window: int
    images: int


def _read_options(options: Mapping[str, Any]) -> _Options:
    table = subtable(options, "probe_accuracy", "options")
    check_keys(table, KEYS, WHERE)
    return _Options(
        pooling=choice(table, "pooling", WHERE, ("max", "average"), "max"),
        convolution=whole(table, "convolution", WHERE, CONVOLUTION) or CONVOLUTION,
        window=whole(table, "window", WHERE, WINDOW) or WINDOW,
        images=whole(table, "images", WHERE, IMAGES) or IMAGES,
    )


def _features(model: Any, asked: _Options) -> Any:
    """A model from the images to the pooled map of the convolution that is asked for.

    Raises:
        StudyError: there is none, or the map is smaller than the window.
    """
    import keras

    convolutions = [layer for layer in model.layers if len(getattr(layer, "kernel_size", ())) == 2]
    if asked.convolution > len(convolutions):
        raise StudyError(
            f"{WHERE}: the net has {len(convolutions)} convolutions. Received: convolution = "
            f"{asked.convolution}."
        )
    pool = keras.layers.MaxPooling2D if asked.pooling == "max" else keras.layers.AveragePooling2D
    try:
        pooled = pool(asked.window)(convolutions[asked.convolution - 1].output)
    except ValueError as error:
        raise StudyError(f"{WHERE}: window = {asked.window} does not fit. {error}") from error
    return keras.Model(model.inputs, pooled)
