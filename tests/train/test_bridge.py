"""Losses that Keras computes for a net that is compiled."""

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import convmill
from convmill import models
from tests.train.nets import (
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

X, Y = images(40)
WEIGHTS = np.random.default_rng(2).random(40).astype("float32")

pytestmark = pytest.mark.long


def own(y_true, y_pred):
    """A function of one's own."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1) + 0.1 * ops.max(y_pred, axis=-1)


class Own(losses.Loss):
    """A class of one's own."""

    def __init__(self, share=0.3):
        super().__init__()
        self.share = share

    def call(self, y_true, y_pred):
        return ops.sum(ops.abs(y_true - y_pred) ** (1 + self.share), axis=-1)


def both(loss, **options):
    """A plain model and one of ours, compiled alike; ours must run compiled."""
    theirs = compiled(convnet(), "adam", loss, **options)
    ours = compiled(convnet(models.Sequential), "adam", loss, **options)
    return convmill.accelerate(ours, strict=True), theirs


def assert_alike(ours, theirs, x=X, y=Y, **arguments):
    """Two epochs with validation, an evaluation, and single batches."""
    arguments = {"epochs": 2, "validation_data": (x[:9], y[:9])} | arguments
    histories = [seeded_fit(model, x, y, **arguments) for model in (ours, theirs)]
    assert_same_history(*histories)
    assert_same_state(ours, theirs)
    for one, other in [
        [model.evaluate(x, y, batch_size=16, verbose=0) for model in (ours, theirs)],
        [model.train_on_batch(x[:16], y[:16]) for model in (ours, theirs)],
        [model.test_on_batch(x[:16], y[:16]) for model in (ours, theirs)],
    ]:
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("loss", [own, Own(), losses.Dice()], ids=["function", "class", "dice"])
def test_training_follows_keras(loss, jit):
    assert_alike(*both(loss, jit_compile=jit))


@pytest.mark.parametrize(
    "loss",
    [
        losses.Tversky(alpha=0.3, beta=0.7),
        losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        losses.CategoricalCrossentropy(reduction="mean_with_sample_weight"),
        own,
    ],
    ids=["tversky", "mse", "categorical", "function"],
)
def test_sample_weights(loss):
    if isinstance(loss, losses.Tversky):  # one number for a batch: Keras weighs nothing there
        assert_alike(*both(loss))
    else:
        assert_alike(*both(loss, weighted_metrics=["accuracy"]), sample_weight=WEIGHTS)


def test_a_weight_that_is_no_number():
    ours, _ = both(own)
    weights = WEIGHTS.copy()
    weights[3] = np.nan
    with pytest.raises(ValueError, match=r"Received: sample_weight\[3\] = nan"):
        ours.fit(X, Y, sample_weight=weights, verbose=0)


def test_a_class_that_is_ignored():
    y = np.argmax(Y, axis=1)
    loss = losses.SparseCategoricalCrossentropy(ignore_class=1)
    assert_alike(*both(loss), y=y)
    y[::5] = -1
    assert_alike(*both(losses.SparseCategoricalCrossentropy(ignore_class=-1)), y=y)


def test_class_weights():
    assert_alike(*both(own), class_weight={0: 2.0, 1: 0.5})


def test_regularizers_are_added():
    def net(kind):
        keras.utils.set_random_seed(4)
        return kind(
            [
                keras.Input((6, 6, 1)),
                layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2"),
                layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
            ]
        )

    theirs, ours = compiled(net(keras.Sequential), "sgd", losses.Dice()), net(models.Sequential)
    ours = convmill.accelerate(compiled(ours, "sgd", losses.Dice()), strict=True)
    y = (X[:, 1:5, 1:5] > 0.5).astype("float32")
    assert_alike(ours, theirs, y=y)


def test_generators():
    def batches():
        while True:
            for start in range(0, 40, 16):
                yield X[start : start + 16], Y[start : start + 16]

    histories = [
        model.fit(batches(), steps_per_epoch=3, shuffle=False, verbose=0) for model in both(own)
    ]
    assert_same_history(*histories)


def test_a_loss_of_strings_that_depends_on_the_labels():
    assert_alike(*both("crossentropy"), y=np.argmax(Y, axis=1))


def broken(y_true, y_pred):
    raise TypeError("this loss is broken")


def test_a_loss_that_cannot_be_computed_trains_nothing():
    ours, _ = both(broken)
    before = ours.get_weights()
    with pytest.raises(TypeError, match="this loss is broken"):
        ours.fit(X, Y, verbose=0)
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_fails_in_the_midst_leaves_whole_steps():
    calls = []
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: calls.clear())

    def failing(y_true, y_pred):
        if len(calls) == 3:
            raise TypeError("enough")
        calls.append(1)
        return own(y_true, y_pred)

    ours, _ = both(failing)
    with pytest.raises(TypeError, match="enough"):
        ours.fit(X[:32], Y[:32], batch_size=8, shuffle=False, callbacks=[begin], verbose=0)
    _, theirs = both(own)
    theirs.fit(X[:24], Y[:24], batch_size=8, shuffle=False, verbose=0)
    assert_same_state(ours, theirs)


def test_a_loss_that_reads_weights_is_left_to_keras():
    """Their gradients would be missing."""
    ours, _ = both(own)

    def decaying(y_true, y_pred):
        return own(y_true, y_pred) + ops.sum(ops.square(ours.layers[0].kernel))

    compiled(ours, "sgd", decaying)
    with pytest.raises(convmill.NotCovered, match=r"decaying reads .*see/kernel"):
        ours.fit(X, Y, verbose=0)


def test_a_loss_that_was_changed_is_another_one():
    loss = Own()
    ours, theirs = both(loss, jit_compile=True)
    for share in (0.3, 0.9):
        loss.share = share
        compiled(theirs, "sgd", loss)
        seeded_fit(theirs, X, Y)
        compiled(ours, "sgd", loss)
        seeded_fit(ours, X, Y)
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


def two_heads(kind):
    """A class and a map of one image."""
    keras.utils.set_random_seed(3)
    images_ = keras.Input((6, 6, 1))
    seen = layers.Conv2D(3, 3, activation="relu")(images_)
    which = layers.Dense(3, activation="softmax", name="which")(layers.Flatten()(seen))
    where = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="where")(seen)
    return kind(images_, [which, where])


@pytest.mark.parametrize("optimizer", ["adam", "adafactor"])
@pytest.mark.parametrize("first", [own, "categorical_crossentropy"], ids=["own", "compiled"])
def test_several_outputs(first, optimizer):
    """Some bridged, some not, with an optimizer that is compiled and one that is bridged too."""
    y = [Y, (X[:, 1:5, 1:5] > 0.5).astype("float32")]
    options = {"loss_weights": [0.5, 2.0], "metrics": [["accuracy"], ["mae"]]}
    models_ = []
    for kind in (keras.Model, models.Model):
        keras.utils.clear_session()
        loss = [first, losses.Dice()]
        models_.append(compiled(two_heads(kind), optimizer, loss, **options))
    convmill.accelerate(models_[1], strict=True)
    arguments = {"epochs": 2, "validation_data": (X[:9], [one[:9] for one in y])}
    theirs, ours = (seeded_fit(model, X, y, **arguments) for model in models_)
    assert_same_history(ours, theirs)
    for mine, other in zip(models_[1].weights, models_[0].weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=2e-5)


def test_explain_says_so():
    ours, _ = both(own)
    found = convmill.explain(ours)
    assert found.compiled
    assert found.bridged == ("the loss own",)
    assert "Bridged, done by Keras in each step of training: the loss own." in str(found)
    assert convmill.explain(both("mse")[0]).bridged == ()
