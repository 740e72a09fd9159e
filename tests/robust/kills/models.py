"""Models, and their weights alone: all weights are the same number."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill import models

MODEL, WEIGHTS = "net.keras", "net.weights.h5"


def write(folder: Path) -> Iterator[None]:
    """A model."""
    model = _net()
    return _written(model, lambda: model.save(folder / MODEL))


def check(folder: Path) -> None:
    """The model is whole."""
    model = models.load_model(folder / MODEL)
    _assert_equal(model)
    model.save(folder / MODEL)


def write_weights(folder: Path) -> Iterator[None]:
    """Weights of a model."""
    model = _net()
    return _written(model, lambda: model.save_weights(folder / WEIGHTS))


def check_weights(folder: Path) -> None:
    """The weights are whole."""
    model = _net()
    model.load_weights(folder / WEIGHTS)
    _assert_equal(model)
    model.save_weights(folder / WEIGHTS)


def _net() -> Any:
    return models.Sequential([keras.Input((100,)), keras.layers.Dense(300)])


def _written(model: Any, save: Any) -> Iterator[None]:
    for number in itertools.count():
        model.set_weights([np.full(one.shape, number) for one in model.weights])
        save()
        yield


def _assert_equal(model: Any) -> None:
    assert len({float(value) for one in model.get_weights() for value in np.unique(one)}) == 1
