"""Models of Keras' tests train, evaluate and predict compiled."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import convmill
from convmill import layers, models


def route_all(modules: Mapping[str, ModuleType]) -> None:
    """Every Keras model of the process goes through convmill where it can."""
    convmill.install()


def route_example_model(modules: Mapping[str, ModuleType]) -> None:
    """The trainer tests' ``ExampleModel``, a layer that is also a trainer, becomes ours."""
    trainer_test = vars(modules["keras.src.trainers.trainer_test"])
    trainer_test["ExampleModel"] = example_model


def example_model(units: int) -> Any:
    """One Dense layer of ones without bias, in a model of ours: what theirs computes."""
    return models.Sequential([layers.Dense(units, use_bias=False, kernel_initializer="ones")])
