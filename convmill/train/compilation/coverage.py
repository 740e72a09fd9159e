"""What runs where: each loss and each metric of Keras, compiled, bridged or fed.

compiled   native code computes it
bridged    Keras computes a batch's loss and its gradient from predictions (where it runs on
           JAX), native code does the rest
fed        Keras' metric is shown the predictions of native code
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras

from convmill.train.compilation.accuracy import kind_of_metric
from convmill.train.compilation.loss import FUNCTIONS

Where = Literal["compiled", "bridged", "fed"]

# Why a loss is bridged; those that are not here are merely rare.
_REASONS = {
    "Circle": "compares all images of a batch with one another",
    "CTC": "aligns sequences",
    "Dice": "one number for all values of a batch",
    "Tversky": "one number for all values of a batch",
}
# What Keras' constructors want.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "IoU": {"num_classes": 2, "target_class_ids": [0]},
    "MeanIoU": {"num_classes": 2},
    "OneHotIoU": {"num_classes": 2, "target_class_ids": [0]},
    "OneHotMeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


@dataclass(frozen=True)
class Coverage:
    """One class of Keras by its name, ``example`` made of it, where it runs, and why not in native
    code ("" where it does)."""

    name: str
    example: Any
    where: Where
    why: str = ""


def losses() -> list[Coverage]:
    """Every loss of ``keras.losses``, with its default arguments."""
    found = []
    for name, example in _classes(keras.losses, keras.Loss):
        if getattr(example, "fn", None) in FUNCTIONS:
            found.append(Coverage(name, example, "compiled"))
        else:
            found.append(Coverage(name, example, "bridged", _REASONS.get(name, "rarely used")))
    return found


def metrics() -> list[Coverage]:
    """Every metric of ``keras.metrics``; an accuracy is compiled where the loss reads the labels
    that it wants."""
    return [
        Coverage(name, example, "fed", "Keras computes it from predictions")
        if kind_of_metric(example) is None
        else Coverage(name, example, "compiled")
        for name, example in _classes(keras.metrics, keras.Metric)
    ]


def _classes(module: Any, base: type) -> Iterator[tuple[str, Any]]:
    """The classes that a module of Keras offers under that base, by name, with an example each."""
    for name, made in sorted(vars(module).items()):
        if not inspect.isclass(made) or not issubclass(made, base) or made is base:
            continue
        if name == "MeanMetricWrapper":  # for functions of one's own
            continue
        make: Callable[..., Any] = made
        yield name, make(**_ARGUMENTS.get(name, {}))
