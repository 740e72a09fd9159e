"""What runs where: each loss, metric, optimizer, regularizer and constraint of Keras, compiled,
bridged or fed; ``plan/coverage.py`` has the layers.

compiled   native code computes it
bridged    native code does all but this: Keras computes a batch's loss and its gradient from
           predictions (where it runs on JAX), or makes the step from gradients
fed        Keras' metric is shown the predictions of native code
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from convmill.plan.coverage import Coverage, classes
from convmill.train.compilation.accuracy import kind_of_metric
from convmill.train.compilation.loss import FUNCTIONS
from convmill.train.compilation.optimizer import route

# Why something is bridged; of the others no kernel is written yet.
_REASONS = {
    "Adafactor": "keeps means of rows and columns",
    "Circle": "compares all images of a batch with one another",
    "CTC": "aligns sequences",
    "Dice": "one number for all values of a batch",
    "Lamb": "scales steps by norms of whole weights",
    "LossScaleOptimizer": "for gradients of 16 bits",
    "MultiOptimizer": "several optimizers",
    "Muon": "makes steps orthogonal",
    "OrthogonalRegularizer": "compares rows with one another",
    "Tversky": "one number for all values of a batch",
}
_NONE_YET = "no kernels yet"
# What Keras' constructors want.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "MultiOptimizer": {"optimizer_map": lambda variable: keras.optimizers.SGD()},
    "IoU": {"num_classes": 2, "target_class_ids": [0]},
    "MeanIoU": {"num_classes": 2},
    "OneHotIoU": {"num_classes": 2, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


def losses() -> list[Coverage]:
    """Every loss of ``keras.losses``, with its default arguments."""
    found = []
    for name, example in _examples(keras.losses, keras.Loss):
        if getattr(example, "fn", None) in FUNCTIONS:
            found.append(Coverage(name, example, "compiled"))
        else:
            found.append(Coverage(name, example, "bridged", _REASONS.get(name, _NONE_YET)))
    return found


def metrics() -> list[Coverage]:
    """Every metric of ``keras.metrics``; an accuracy is compiled where the loss reads the labels
    that it wants."""
    return [
        Coverage(name, example, "fed", "Keras computes it from predictions")
        if kind_of_metric(example) is None
        else Coverage(name, example, "compiled")
        for name, example in _examples(keras.metrics, keras.Metric)
    ]


def optimizers() -> list[Coverage]:
    """Every optimizer of ``keras.optimizers``."""
    return _steps(keras.optimizers, keras.Optimizer)


def regularizers() -> list[Coverage]:
    """Every regularizer of ``keras.regularizers``, of a weight."""
    return _steps(keras.regularizers, keras.Regularizer)


def constraints() -> list[Coverage]:
    """Every constraint of ``keras.constraints``."""
    return _steps(keras.constraints, keras.constraints.Constraint)


def _steps(module: Any, base: type) -> list[Coverage]:
    """What belongs to the step of an optimizer."""
    return [
        Coverage(name, example, "compiled")
        if route(type(example)) == "compiled"
        else Coverage(name, example, "bridged", _REASONS.get(name, _NONE_YET))
        for name, example in _examples(module, base)
    ]


def _examples(module: Any, base: type) -> Iterator[tuple[str, Any]]:
    """The classes that a module of Keras offers under that base, by name, with an example each."""
    for name, made in classes(module, base):
        if name == "MeanMetricWrapper":  # for functions of one's own
            continue
        make: Callable[..., Any] = made
        if name == "LossScaleOptimizer":
            yield name, make(keras.optimizers.SGD())
        else:
            yield name, make(**_ARGUMENTS.get(name, {}))
