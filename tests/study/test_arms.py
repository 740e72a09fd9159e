"""What an arm is compiled with: what the study says, and else what the model has."""

from __future__ import annotations

import keras
import pytest

from convmill.study.arms import compile_arm
from convmill.study.settings import read_training


def compiled(own, **said):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    if own is not None:
        model.compile(own, "mse")
    compile_arm(model, read_training({"batch_size": 10, **said}, "mine"), 100)
    return model.optimizer


@pytest.mark.parametrize("name", ["RMSprop", "AdamW", "SGD", "Adadelta"])
def test_a_learning_rate_alone_leaves_the_rest_to_the_models_own_optimizer(name):
    own = getattr(keras.optimizers, name)()
    found = compiled(own, learning_rate=0.25)
    assert type(found) is type(own)
    assert float(found.learning_rate) == 0.25


def test_the_models_own_numbers_stay():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    own = keras.optimizers.Adam(schedule, beta_1=0.75, clipnorm=2.0)
    found = compiled(own, learning_rate=0.5, decay="linear")
    assert (found.beta_1, found.clipnorm) == (0.75, 2.0)
    assert float(found.learning_rate) == 0.5
    assert type(found._learning_rate) is keras.optimizers.schedules.PolynomialDecay


def test_a_model_without_an_optimizer_gets_rmsprop():
    found = compiled(None, learning_rate=0.5)
    assert isinstance(found, keras.optimizers.RMSprop)
    assert float(found.learning_rate) == 0.5


def test_a_study_names_an_optimizer_with_its_numbers():
    found = compiled("sgd", optimizer={"name": "adam", "beta_1": 0.5}, learning_rate=0.5)
    assert isinstance(found, keras.optimizers.Adam)
    assert (found.beta_1, float(found.learning_rate)) == (0.5, 0.5)
