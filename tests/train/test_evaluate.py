"""``evaluate`` and ``predict`` against Keras' own."""

import keras
import numpy as np
import pytest

from convmill import models
from tests.train.nets import compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images()


def pair(**options):
    return [compiled(convnet(kind), **options) for kind in (keras.Sequential, models.Sequential)]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"steps": 2}, {"sample_weight": np.linspace(0, 2, 48)}, {"return_dict": True}],
    ids=["plain", "steps", "weights", "dict"],
)
def test_evaluate(arguments):
    theirs, ours = pair(weighted_metrics=["accuracy"])
    expected = theirs.evaluate(X, Y, 16, verbose=0, **arguments)
    found = ours.evaluate(X, Y, 16, verbose=0, **arguments)
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert all(isinstance(value, float) for value in found)
    for name, value in theirs.get_metrics_result().items():
        np.testing.assert_allclose(ours.get_metrics_result()[name], value, atol=2e-5)


def test_a_loss_alone_is_a_number():
    theirs, ours = pair(metrics=None)
    found = ours.evaluate(X, Y, 16, verbose=0)
    assert isinstance(found, float)
    assert found == pytest.approx(theirs.evaluate(X, Y, 16, verbose=0), abs=2e-5)


def test_evaluating_changes_nothing():
    model = compiled(convnet(models.Sequential, dropout=0.5))
    before = [variable.numpy().copy() for variable in model.weights]
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_a_callback_may_stop_evaluation_and_prediction():
    def stop(name):
        return lambda batch, logs=None: setattr(model, name, batch == 1)

    model = compiled(convnet(models.Sequential))
    stopper = keras.callbacks.LambdaCallback(
        on_test_batch_end=stop("stop_evaluating"), on_predict_batch_end=stop("stop_predicting")
    )
    found = model.evaluate(X, Y, 16, verbose=0, callbacks=[stopper])
    assert found == pytest.approx(model.evaluate(X[:32], Y[:32], 16, verbose=0))
    assert model.predict(X, 16, verbose=0, callbacks=[stopper]).shape == (32, 3)


@pytest.mark.parametrize("arguments", [{}, {"batch_size": 7}, {"steps": 2, "batch_size": 16}])
def test_predict(arguments):
    theirs, ours = pair()
    expected = theirs.predict(X, verbose=0, **({"batch_size": 16} | arguments))
    found = ours.predict(X, verbose=0, **arguments)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_predict_of_a_model_that_was_never_compiled():
    expected = convnet().predict(X, 16, verbose=0)
    np.testing.assert_allclose(convnet(models.Sequential).predict(X, verbose=0), expected,
                               atol=2e-5)


def test_predict_builds_a_model_without_input():
    keras.utils.set_random_seed(3)
    model = models.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    expected = model(X[:5])
    assert model.predict(X, verbose=0).shape == (48, 2)
    np.testing.assert_allclose(model.predict(X[:5], verbose=0), expected, atol=2e-5)


def test_predictions_follow_weights_that_were_set():
    theirs, ours = pair()
    for model in (theirs, ours):
        model.predict(X, 16, verbose=0)
        model.set_weights([weight + 0.1 for weight in model.get_weights()])
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), theirs.predict(X, 16, verbose=0), atol=2e-5
    )
