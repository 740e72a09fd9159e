"""What a model was compiled with, in each form in which it may be given."""

from __future__ import annotations

import keras
import pytest

from convmill.inspection.loss import given_loss


@pytest.mark.parametrize(
    ("given", "expected"),
    [("mse", "mse"), (["mse"], "mse"), (("mse",), "mse"), (None, None)],
)
def test_the_loss_out_of_a_list_of_one(given, expected):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", given)
    assert given_loss(model) == expected


def test_several_losses_and_none():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)])
    assert given_loss(model) is None
    model.compile("sgd", ["mse", "mae"])
    assert given_loss(model) == ["mse", "mae"]
