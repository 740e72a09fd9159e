"""The tables of losses, metrics and optimizers say what the code does."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from convmill.plan.read import read
from convmill.train.compilation import coverage
from convmill.train.compilation.coverage import Coverage
from convmill.train.compilation.read_recipe import read_recipe
from tests.train.small import net


def names(rows: list[Coverage]) -> dict[str, str]:
    return {row.name: row.where for row in rows}


@pytest.mark.parametrize("row", coverage.losses(), ids=lambda row: row.name)
def test_losses(row: Coverage) -> None:
    model = net()
    model.compile("sgd", row.example)
    assert read_recipe(model, read(model)).loss.bridged == (row.where == "bridged")
    assert bool(row.why) == (row.where == "bridged")


@pytest.mark.parametrize("row", coverage.metrics(), ids=lambda row: row.name)
def test_metrics(row: Coverage) -> None:
    """With one of the losses it is counted natively, or with none."""
    counted = set()
    for loss in ("categorical_crossentropy", "sparse_categorical_crossentropy"):
        model = net()
        model.compile("sgd", loss, metrics=[row.example])
        goal = read_recipe(model, read(model)).goals[0]
        assert goal is not None
        counted.add(goal.accuracy)
    assert (counted != {None}) == (row.where == "compiled")


def recipe_of(optimizer: Any = "sgd", **weights: Any) -> Any:
    """How a Dense layer with these arguments is trained."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, **weights)])
    model.compile(optimizer, "mse")
    return read_recipe(model, read(model))


@pytest.mark.parametrize("row", coverage.optimizers(), ids=lambda row: row.name)
def test_optimizers(row: Coverage) -> None:
    assert (recipe_of(row.example).optimizer.name == "bridged") == (row.where == "bridged")
    assert bool(row.why) == (row.where == "bridged")


def test_regularizers_and_constraints() -> None:
    weights = {"kernel_regularizer": coverage.regularizers()}
    for argument, rows in (weights | {"kernel_constraint": coverage.constraints()}).items():
        for row in rows:
            found = recipe_of(**{argument: row.example}).optimizer.name
            assert (found == "bridged") == (row.where == "bridged"), row.name


def test_what_is_in_the_tables() -> None:
    losses, metrics = names(coverage.losses()), names(coverage.metrics())
    assert losses["CategoricalFocalCrossentropy"] == losses["Huber"] == "compiled"
    assert losses["Dice"] == losses["CTC"] == "bridged"
    assert metrics["SparseCategoricalAccuracy"] == "compiled"
    assert metrics["AUC"] == "fed"
    assert names(coverage.optimizers())["Nadam"] == "compiled"
    assert names(coverage.constraints())["MaxNorm"] == "compiled"
    assert "Loss" not in losses
    assert "Metric" not in metrics
