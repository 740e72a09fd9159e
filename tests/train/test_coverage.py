"""The tables of losses and metrics say what the code does."""

from __future__ import annotations

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


def test_what_is_in_the_tables() -> None:
    losses, metrics = names(coverage.losses()), names(coverage.metrics())
    assert losses["CategoricalFocalCrossentropy"] == losses["Huber"] == "compiled"
    assert losses["Dice"] == losses["CTC"] == "bridged"
    assert metrics["SparseCategoricalAccuracy"] == "compiled"
    assert metrics["AUC"] == "fed"
    assert "Loss" not in losses
    assert "Metric" not in metrics
