"""How much a map of a trained net tells a linear classifier, pooled in one way or another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convmill.study.errors import StudyError
from convmill.study.fields import check_keys, choice, whole
from convmill.study.measures.trained import Measured, Trained

KEYS = ("pooling", "convolution", "window", "images")
CONVOLUTION, WINDOW, IMAGES = 2, 4, 5000
ITERATIONS = 300


def probe_accuracy(trained: Trained) -> Measured:
    """Test accuracy of a logistic regression on pooled values of a convolution's map.

    Options: ``pooling`` ("max" or "average"), over windows of ``window`` x ``window``;
    ``convolution``: the map of the first, the second, ...; ``images``: how many to learn from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    where, options = "options.probe_accuracy", dict(trained.options.get("probe_accuracy", {}))
    check_keys(options, KEYS, where)
    pooling = choice(options, "pooling", where, ("max", "average"), "max")
    window = whole(options, "window", where, WINDOW) or WINDOW
    number = whole(options, "convolution", where, CONVOLUTION) or CONVOLUTION
    images = whole(options, "images", where, IMAGES) or IMAGES
    features = _features(trained.model, number, pooling, window)
    told = (
        np.asarray(features.predict(x, batch_size=256, verbose=0)).reshape(len(x), -1)
        for x in (trained.x_train[:images], trained.x_test)
    )
    x, x_test = told
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS, tol=1e-3))
    probe.fit(x, trained.labels_train[:images])
    found: NDArray[Any] = probe.predict(x_test) == trained.labels_test
    return Measured(float(found.mean()))


def _features(model: Any, number: int, pooling: str, window: int) -> Any:
    """A model from the images to the pooled map of the ``number``-th convolution."""
    import keras

    convolutions = [layer for layer in model.layers if len(getattr(layer, "kernel_size", ())) == 2]
    if number > len(convolutions):
        raise StudyError(
            f"options.probe_accuracy: the net has {len(convolutions)} convolutions. Received: "
            f"convolution = {number}."
        )
    pool = keras.layers.MaxPooling2D if pooling == "max" else keras.layers.AveragePooling2D
    return keras.Model(model.inputs, pool(window)(convolutions[number - 1].output))
