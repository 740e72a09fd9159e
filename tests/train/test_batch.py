"""``train_on_batch``, ``test_on_batch``, ``predict_on_batch`` against Keras' own."""

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from tests.train.nets import assert_same_state, compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(16)
WEIGHTS = np.linspace(0, 2, 16)


def pair(**options):
    return [compiled(convnet(kind), **options) for kind in (keras.Sequential, models.Sequential)]


@pytest.mark.parametrize("return_dict", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"sample_weight": WEIGHTS}, {"class_weight": {0: 0.5, 1: 2.0, 2: 1.0}}],
    ids=["plain", "sample_weight", "class_weight"],
)
def test_training_by_hand(arguments, return_dict):
    theirs, ours = pair(weighted_metrics=["accuracy"])
    for _ in range(3):
        expected = theirs.train_on_batch(X, Y, return_dict=return_dict, **arguments)
        found = ours.train_on_batch(X, Y, return_dict=return_dict, **arguments)
        assert type(found) is type(expected)
        if return_dict:
            assert list(found) == list(expected)
            found, expected = list(found.values()), list(expected.values())
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert_same_state(ours, theirs)


def test_testing_by_hand():
    theirs, ours = pair(metrics=["accuracy", "mse"])
    for arguments in ({}, {"sample_weight": WEIGHTS}):
        expected = theirs.test_on_batch(X, Y, **arguments)
        np.testing.assert_allclose(ours.test_on_batch(X, Y, **arguments), expected, atol=2e-5)


def test_a_loss_alone_is_a_number():
    theirs, ours = pair(metrics=None)
    assert ours.test_on_batch(X, Y) == pytest.approx(theirs.test_on_batch(X, Y), abs=2e-5)
    assert isinstance(ours.train_on_batch(X, Y), float)


def test_predicting_by_hand():
    theirs, ours = pair()
    found = ours.predict_on_batch(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, theirs.predict_on_batch(X), atol=2e-5)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_the_first_batch_builds_the_model(method):
    model = compiled(models.Sequential([layers.Flatten(), layers.Dense(3)]), loss="mse")
    getattr(model, method)(*((X,) if method == "predict_on_batch" else (X, Y)))
    assert model.built


def test_calls_and_fit_may_alternate():
    theirs, ours = pair()
    for model in (theirs, ours):
        model.train_on_batch(X, Y)
        model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
        model.train_on_batch(X, Y)
    assert_same_state(ours, theirs)
    assert ours.optimizer.iterations.numpy() == 3
