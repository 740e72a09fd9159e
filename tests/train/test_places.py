"""Outputs that are images: a loss for each pixel, as plain Keras computes it."""

import keras
import numpy as np
import pytest
from keras import layers, losses

import convmill
from convmill import models
from tests.train.nets import assert_same_history, assert_same_state, compiled, seeded_fit

SHAPE = (6, 5, 2)

pytestmark = pytest.mark.long


def net(kind, channels, activation):
    """Convolutions that keep the size of the image; the same weights each time."""
    keras.utils.set_random_seed(3)
    return kind(
        [
            keras.Input(SHAPE),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.Conv2D(channels, 2, padding="same", activation=activation),
        ],
        name="net",
    )


def data(channels, sparse=False, count=20):
    """Images; one-hot targets, or the index of the class, for each pixel."""
    rng = np.random.default_rng(5)
    x = rng.random((count, *SHAPE)).astype("float32")
    classes = (x.sum(axis=-1) * channels / 2).astype("int32") % max(channels, 2)
    if sparse:
        return x, classes
    one_hot = np.eye(max(channels, 2), dtype="float32")[classes]
    return x, one_hot[..., :channels]


def both(channels, activation, **options):
    """A plain model and one of ours, compiled alike; ours must run compiled."""
    theirs = compiled(net(keras.Sequential, channels, activation), "sgd", **options)
    ours = compiled(net(models.Sequential, channels, activation), "sgd", **options)
    return convmill.accelerate(ours, strict=True), theirs


def assert_alike(ours, theirs, x, y, tolerance=2e-5, **arguments):
    """Two epochs with validation, and an evaluation."""
    arguments = {"epochs": 2, "validation_data": (x[:7], y[:7])} | arguments
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories, tolerance)
    assert_same_state(ours, theirs)
    found, expected = (
        model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True) for model in (ours, theirs)
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


CASES = [
    ("categorical_crossentropy", 3, "softmax", False),
    ("sparse_categorical_crossentropy", 3, "softmax", True),
    (losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"), 3, "linear", True),
    ("binary_crossentropy", 1, "sigmoid", False),
    (losses.BinaryCrossentropy(from_logits=True), 3, "linear", False),
    ("mse", 2, "linear", False),
    (losses.MeanAbsoluteError(reduction="sum"), 2, "relu", False),
]


@pytest.mark.parametrize(("loss", "channels", "activation", "sparse"), CASES)
def test_training_follows_keras(loss, channels, activation, sparse):
    ours, theirs = both(channels, activation, loss=loss)
    summed = getattr(loss, "reduction", "") == "sum"
    for model in (ours, theirs):
        model.optimizer.learning_rate = 1e-4 if summed else 1e-2
    assert_alike(ours, theirs, *data(channels, sparse), tolerance=5e-3 if summed else 2e-5)


@pytest.mark.parametrize("shape", [(20, 1, 1), (20, 1, 1, 1), (20, 6, 5), (20, 6, 5, 1)])
@pytest.mark.parametrize(
    ("channels", "activation", "sparse"), [(3, "softmax", True), (2, None, False)]
)
def test_weights_of_images_and_of_places(channels, activation, sparse, shape):
    weight = np.random.default_rng(1).random(shape).astype("float32")
    loss = "sparse_categorical_crossentropy" if sparse else "mse"
    models_ = both(channels, activation, loss=loss, weighted_metrics=["accuracy"])
    assert_alike(*models_, *data(channels, sparse), sample_weight=weight)


def test_weights_of_rows_are_left_to_keras():
    ours, _ = both(2, None, loss="mse")
    x, y = data(2)
    with pytest.raises(convmill.NotCovered, match=r"of shape \(20, 6, 1\)") as refusal:
        ours.fit(x, y, sample_weight=np.ones((20, 6, 1)), verbose=0)
    assert "(n, 1, 1)" in refusal.value.remedy
    assert "(n, 6, 5)" in refusal.value.remedy


@pytest.mark.parametrize("shape", [(20,), (20, 5), (20, 6), (20, 6, 4), (20, 6, 5, 2)])
def test_weights_of_neither_images_nor_places(shape):
    """Keras lays them along another axis where sizes are equal by chance."""
    ours, _ = both(2, None, loss="mse")
    x, y = data(2)
    with pytest.raises(ValueError, match=r"sample_weight must hold one weight .* Received: "):
        ours.fit(x, y, sample_weight=np.ones(shape), verbose=0)


@pytest.mark.parametrize("shape", [(20,), (20, 5), (20, 6, 5), (20, 6, 5, 3), (20, 2, 6, 5, 1)])
def test_targets_that_fit_no_output(shape):
    x, _ = data(2)
    ours, _ = both(2, None, loss="mse")
    with pytest.raises(ValueError, match=r"y for the loss mean_squared_error must have the same"):
        ours.fit(x, np.ones(shape), verbose=0)


def test_targets_that_keras_spreads_out():
    x, y = data(2)
    ours, _ = both(2, None, loss="mse")
    with pytest.raises(convmill.NotCovered, match=r"y of shape \(20, 6, 5, 1\)"):
        ours.fit(x, y[..., :1], verbose=0)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse"])
def test_labels_without_the_last_axis(loss):
    """Keras leaves that axis out of the output as well: the mean over all stays the same."""
    x, y = data(1)
    assert_alike(*both(1, "sigmoid", loss=loss), x, y[..., 0])


def test_labels_without_the_last_axis_whose_loss_is_another_one():
    """A sum of means along another axis."""
    x, y = data(1)
    ours, _ = both(1, None, loss=losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(convmill.NotCovered, match=r"y of shape \(20, 6, 5\)"):
        ours.fit(x, y[..., 0], verbose=0)


def test_a_class_that_is_not_there():
    x, y = data(3, sparse=True)
    y[4, 2, 3] = 3
    ours, _ = both(3, "softmax", loss="sparse_categorical_crossentropy")
    before = ours.get_weights()
    with pytest.raises(ValueError, match=r"at each place\. Received: y\[4, 2, 3\] = 3"):
        ours.fit(x, y, verbose=0)
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_of_another_shape():
    x, y = data(3)
    ours, _ = both(3, "softmax", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"for each place, \(n, 6, 5\).*fits the loss categorical"):
        ours.fit(x, y, verbose=0)


def test_metrics_of_keras_see_images():
    x, y = data(3)
    models_ = both(3, "softmax", loss="categorical_crossentropy", metrics=["mse", "accuracy"])
    assert_alike(*models_, x, y)


def test_predictions_keep_their_shape():
    x, _ = data(3)
    ours, theirs = both(3, "softmax", loss="categorical_crossentropy")
    found = ours.predict(x, verbose=0)
    assert found.shape == (20, 6, 5, 3)
    np.testing.assert_allclose(found, theirs.predict(x, verbose=0), atol=1e-6)


def test_another_epsilon_of_keras():
    """Where probabilities are clipped is read when the model is."""
    x, y = data(3)
    before = keras.config.epsilon()
    keras.config.set_epsilon(0.2)
    try:
        assert_alike(*both(3, "softmax", loss="categorical_crossentropy"), x, y)
    finally:
        keras.config.set_epsilon(before)
