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
WHERE = "options.probe_accuracy"


def probe_accuracy(trained: Trained) -> Measured:
    """Test accuracy of a logistic regression on pooled values of a convolution's map.

    Options: ``pooling`` ("max" or "average"), over windows of ``window`` x ``window``;
    ``convolution``: the map of the first, the second, ...; ``images``: how many to learn from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    asked = _read_options(trained.options)
    images = asked.images
    features = _features(trained.model, asked)
    told = (
        np.asarray(features.predict(x, batch_size=256, verbose=0)).reshape(len(x), -1)
        for x in (trained.x_train[:images], trained.x_test)
    )
    x, x_test = told
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS, tol=1e-3))
    probe.fit(x, trained.labels_train[:images])
    found: NDArray[Any] = probe.predict(x_test) == trained.labels_test
    return Measured(float(found.mean()))


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
