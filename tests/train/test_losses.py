"""Keras' losses, trained with as plain Keras does."""

import keras
import numpy as np
import pytest
from keras import layers, losses

import convmill
from convmill import models
from tests.train.nets import assert_same_history, assert_same_state, compiled, seeded_fit

SHAPE = (4, 4, 1)

pytestmark = pytest.mark.long  # breadth: test_bridge, test_fit and test_optimizers have one of each


def net(kind, activation):
    """A convolution and three outputs; the same weights each time."""
    keras.utils.set_random_seed(3)
    return kind(
        [
            keras.Input(SHAPE),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation=activation),
        ],
        name="net",
    )


def both(activation, **options):
    """A plain model and one of ours, compiled alike; ours must run compiled."""
    theirs = compiled(net(keras.Sequential, activation), "sgd", **options)
    ours = compiled(net(models.Sequential, activation), "sgd", **options)
    return convmill.accelerate(ours, strict=True), theirs


def data(count=20):
    """Images and one-hot targets."""
    rng = np.random.default_rng(5)
    x = rng.random((count, *SHAPE)).astype("float32")
    return x, np.eye(3, dtype="float32")[rng.integers(0, 3, count)]


def assert_alike(ours, theirs, x, y, **arguments):
    """Two epochs with validation."""
    arguments = {"epochs": 2, "validation_data": (x[:7], y[:7])} | arguments
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)


CASES = [
    (losses.MeanSquaredLogarithmicError(), "relu"),
    (losses.Huber(delta=0.3), None),
    ("log_cosh", None),
    ("poisson", "sigmoid"),
    ("kl_divergence", "softmax"),
    (losses.CosineSimilarity(), None),
    ("hinge", "tanh"),
    ("squared_hinge", "tanh"),
    ("categorical_hinge", None),
    (losses.BinaryFocalCrossentropy(apply_class_balancing=True), "sigmoid"),
    (losses.CategoricalFocalCrossentropy(alpha=[0.2, 0.3, 0.5]), "softmax"),
    (losses.CategoricalFocalCrossentropy(from_logits=True, gamma=1.5), None),
]


@pytest.mark.parametrize(("loss", "activation"), CASES, ids=lambda one: getattr(one, "name", one))
def test_training_follows_keras(loss, activation):
    """Hinge losses take labels of 0 and 1 as -1 and 1."""
    assert_alike(*both(activation, loss=loss), *data())


def test_percentages_of_labels_that_are_not_zero():
    x, y = data()
    assert_alike(*both(None, loss="mape"), x, y + 1)


def test_labels_of_a_hinge_loss():
    x, y = data()
    ours, theirs = both("tanh", loss="hinge")
    assert_alike(ours, theirs, x, 2 * y - 1)
    ours, _ = both("tanh", loss="hinge")
    with pytest.raises(convmill.NotCovered, match="0 beside others"):
        ours.fit(x, y - 1, verbose=0)


def test_logits_far_from_zero():
    """Only their differences count: what is added to all is taken away exactly."""
    model = models.Sequential([keras.Input((4,)), layers.Activation("linear")])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    convmill.accelerate(model, strict=True)
    x = np.arange(4, dtype=np.float32)[None]
    found = model.evaluate(x + np.float32(1e4), np.array([1]), verbose=0)
    assert found == pytest.approx(np.log(np.exp(x).sum()) - 1, rel=1e-6)
