"""How good a net is on test images, how much better on its own, and how long an epoch takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convmill.study.errors import StudyError
from convmill.study.measures.trained import Measured, Trained

ACCURACY = "accuracy"


def accuracy(trained: Trained) -> Measured:
    """The share of test images that are told right, after the last epoch."""
    return Measured(float(trained.right.mean()))


def best_accuracy(trained: Trained) -> Measured:
    """The best test accuracy of any epoch, or of the weights in the end where those are others,
    such as averages: which it is was chosen on the test images."""
    return Measured(max(*trained.curves[f"val_{ACCURACY}"], accuracy(trained).value))


def check_accuracy(model: Any, canvas: int | None, options: Mapping[str, Any]) -> None:
    """Raises StudyError where no accuracy will be known of each epoch."""
    compiled = model.get_compile_config() or {}
    if "metrics" not in compiled:  # a model with a way of its own
        return
    names = list(_names(compiled["metrics"]))
    if ACCURACY not in names:
        raise StudyError(
            "the measures best_accuracy and dip need a model that is compiled with "
            f"metrics=['{ACCURACY}']. Received: metrics={names}."
        )


def _names(metrics: Any) -> Iterator[str]:
    """What metrics of a model's configuration, in lists and tables, are called in ``fit``."""
    if isinstance(metrics, str):
        yield metrics
    elif isinstance(metrics, list | tuple):
        for one in metrics:
            yield from _names(one)
    elif isinstance(metrics, Mapping) and "class_name" in metrics:
        config = metrics.get("config")
        yield str(config.get("name") if isinstance(config, Mapping) else config)
    elif isinstance(metrics, Mapping):
        for one in metrics.values():
            yield from _names(one)


def loss(trained: Trained) -> Measured:
    """The loss on the test images."""
    return Measured(float(trained.curves["val_loss"][-1]))


def train_accuracy(trained: Trained) -> Measured:
    """The share of the training images that the trained net tells right."""
    return Measured(float(trained.told_right(trained.x_train, trained.labels_train).mean()))


def gap(trained: Trained) -> Measured:
    """Accuracy on training images minus that on test images: how much was learned by heart."""
    return Measured(train_accuracy(trained).value - accuracy(trained).value)


def epoch_seconds(trained: Trained) -> Measured:
    """The median time of an epoch's training, on one thread."""
    return Measured(float(np.median(trained.epoch_seconds)))


def dip(trained: Trained) -> Measured:
    """How far the test accuracy lies below the best epoch's."""
    return Measured(best_accuracy(trained).value - accuracy(trained).value)
