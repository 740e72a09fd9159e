"""A run that goes on from any of its checkpoints ends as one that was never stopped: with the same
bits, the same History and the same logs."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.callbacks import Checkpoint
from convmill.train.checkpoint import archive
from convmill.train.checkpoint.keeper import Keeper
from tests.train.nets import CLASSES, SHAPE, compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(40)
SIZE = 8
EPOCHS = 3


def state(model, history):
    """All that a run leaves."""
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return {
        "variables": [one.numpy() for one in every],
        "history": history.history,
        "epochs": history.epoch,
        "numpy": np.random.random(3).tolist(),
        "python": random.random(),
        "predictions": model.predict(X, verbose=0),
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        if name == "variables":
            for number, (one, other) in enumerate(zip(found[name], value, strict=True)):
                np.testing.assert_array_equal(one, other, err_msg=str(number))
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def go(make, folder, fit, every="1 steps", callbacks=()):
    """A whole run, from a fresh model and the same seeds."""
    keras.utils.set_random_seed(5)
    model = make()
    checkpoints = [Checkpoint(folder, every=every, keep=1)] if folder else []
    history = model.fit(verbose=0, callbacks=[*callbacks, *checkpoints], **fit)
    return state(model, history)


def states(make, fit, tmp_path, monkeypatch, callbacks=()):
    """Runs once; folders with one checkpoint each, of every state that was taken: behind each step,
    before each validation, and between epochs."""
    plain, found = Keeper._state, []

    def taken(self, *training):
        content = plain(self, *training)
        found.append(tmp_path / f"state {len(found)}")
        found[-1].mkdir()
        archive.write(found[-1] / "checkpoint-00000001.zip", content)
        return content

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_state", taken)
        left = go(make, tmp_path / "run", fit, callbacks=callbacks)
    return left, found


def check(make, fit, tmp_path, monkeypatch, callbacks=lambda: ()):
    """From each state of a run another one goes on."""
    expected = go(make, None, fit, callbacks=callbacks())
    left, folders = states(make, fit, tmp_path, monkeypatch, callbacks())
    assert_same(left, expected)
    for folder in folders:
        assert_same(go(make, folder, fit, callbacks=callbacks()), expected)
    return len(folders)


def arrays(**options):
    return {"x": X, "y": Y, "batch_size": SIZE, "epochs": EPOCHS} | options


def test_a_run_goes_on_from_each_of_its_steps(tmp_path, monkeypatch):
    def make():
        return compiled(convnet(models.Sequential), "adam")

    taken = check(make, arrays(), tmp_path, monkeypatch)
    assert taken == 1 + EPOCHS * (len(X) // SIZE + 2)


# Nets, and what else trains ----------------------------------------------------------------------


def chance():
    """Batch normalization, random changes of images, dropout, and a schedule."""
    stack = [
        keras.Input(SHAPE),
        layers.RandomFlip(),
        layers.RandomTranslation(0.2, 0.2),
        layers.Conv2D(2, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.4),
        layers.Dense(CLASSES, activation="softmax"),
    ]
    rate = keras.optimizers.schedules.CosineDecay(0.01, 12)
    return compiled(models.Sequential(stack), keras.optimizers.Adam(rate))


def two_outputs():
    """Two outputs, metrics that Keras counts, weights that decay, and a moving average of them."""
    x = keras.Input(SHAPE)
    flat = layers.Flatten()(layers.Conv2D(2, 3, kernel_regularizer="l2")(x))
    one = layers.Dense(CLASSES, activation="softmax", name="one")(flat)
    two = layers.Dense(CLASSES, name="two")(flat)
    return compiled(
        models.Model(x, [one, two]),
        keras.optimizers.AdamW(use_ema=True, ema_overwrite_frequency=4),
        ["categorical_crossentropy", "mse"],
        metrics=[[keras.metrics.AUC(5, name="auc"), "accuracy"], ["mae"]],
        loss_weights=[1.0, 0.3],
    )


def frozen():
    """A base that is computed once; the head is trained on what it computes, by a Bound of its
    own."""
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(3, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(CLASSES, activation="softmax"),
    ]
    model = models.Sequential(stack)
    model.layers[0].trainable = model.layers[1].trainable = False
    return compiled(model, "adam")


def by(optimizer, loss="categorical_crossentropy"):
    return lambda: compiled(convnet(models.Sequential, 0.3), optimizer(), loss)


def squares(y, predictions):
    return keras.ops.mean(keras.ops.square(y - predictions), axis=-1)


class OwnRule(keras.optimizers.SGD):
    """Keras moves the weights."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * 2, variable, learning_rate)


def stopping():
    return [
        keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=1.0),
    ]


def scheduled():
    return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)]


class Drawing(keras.callbacks.Callback):
    """Hears of batches, draws random numbers, and remembers them."""

    def __init__(self):
        super().__init__()
        self.drawn = []
        self.sum = np.zeros(2)

    def on_train_batch_end(self, batch, logs=None):
        self.drawn.append((batch, logs["loss"], random.random()))
        self.sum += np.random.random(2)
        self.model.optimizer.learning_rate = 0.01 * random.random()

    def on_train_end(self, logs=None):
        self.model.history.history["drawn"] = self.drawn
        self.model.history.history["sum"] = self.sum.tolist()


class StoppingMidway(keras.callbacks.Callback):
    """Ends the training in the midst of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 7:
            self.model.stop_training = True


VALIDATED = arrays(validation_data=images(16, 1), epochs=4)
TWO = arrays(y=[Y, Y], shuffle=True)
NETS = {
    "chance": (chance, arrays(), lambda: ()),
    "frozen base": (frozen, arrays(), lambda: ()),
    "two outputs": (two_outputs, TWO, lambda: ()),
    "early stopping": (by(lambda: keras.optimizers.RMSprop(0.5)), VALIDATED, stopping),
    "scheduled": (by(keras.optimizers.SGD), arrays(shuffle=False), scheduled),
    "hears batches": (by(keras.optimizers.SGD), arrays(), lambda: [Drawing()]),
    "batches, validated": (by(keras.optimizers.Adam), VALIDATED, lambda: [*stopping(), Drawing()]),
    "stops midway": (by(keras.optimizers.SGD), arrays(), lambda: [StoppingMidway()]),
    "shuffled batches": (by(keras.optimizers.SGD), arrays(shuffle="batch"), lambda: ()),
    "nadam": (by(keras.optimizers.Nadam), arrays(), lambda: ()),
    "ftrl": (by(keras.optimizers.Ftrl), arrays(), lambda: ()),
    "accumulated": (
        by(lambda: keras.optimizers.Adam(gradient_accumulation_steps=3)),
        arrays(),
        lambda: (),
    ),
    "own rule": (by(lambda: OwnRule(0.01, momentum=0.9)), arrays(), lambda: ()),
    "own loss": (by(keras.optimizers.Adam, squares), arrays(), lambda: ()),
    "weights of samples": (
        by(keras.optimizers.Adam),
        arrays(sample_weight=np.linspace(0, 2, len(X), dtype="float32")),
        lambda: (),
    ),
    "copied": (by(keras.optimizers.Adam), arrays(x=X.astype("float16")), lambda: ()),
}


@pytest.mark.parametrize("name", NETS)
def test_whatever_is_trained(name, tmp_path, monkeypatch):
    make, fit, callbacks = NETS[name]
    check(make, fit, tmp_path, monkeypatch, callbacks)


# Data sets ----------------------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Batches by number, which draw."""

    def __init__(self, **options):
        super().__init__(**options)
        self.order = np.arange(len(X))

    def __len__(self):
        return len(X) // SIZE

    def __getitem__(self, index):
        rows = self.order[index * SIZE : (index + 1) * SIZE]
        return X[rows] + np.random.random() + random.random(), Y[rows]


class Shuffled(Batches):
    """In another order in each epoch."""

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(1)

    def on_epoch_end(self):
        self.order = self.random.permutation(len(X))

    def state_dict(self):
        return {"order": self.order, "random": self.random.bit_generator.state}

    def load_state_dict(self, state):
        self.order = state["order"]
        self.random.bit_generator.state = state["random"]


STREAMS = {
    "batches": (Batches, lambda: ()),
    "heard": (Batches, lambda: [Drawing()]),
    "shuffled and heard": (Shuffled, lambda: [Drawing()]),
    "shuffled": (Shuffled, lambda: ()),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_data_set_is_wound_back(name, shuffle, tmp_path, monkeypatch):
    make = by(keras.optimizers.SGD)
    data, callbacks = STREAMS[name]

    def fit():
        held_out = data() if name == "shuffled" else (X[:8], Y[:8])
        options = {"epochs": EPOCHS, "shuffle": shuffle, "validation_data": held_out}
        return {"x": data(), **options}

    expected = go(make, None, fit(), callbacks=callbacks())
    left, folders = states(make, fit(), tmp_path, monkeypatch, callbacks())
    assert_same(left, expected)
    for folder in folders:
        assert_same(go(make, folder, fit(), callbacks=callbacks()), expected)


def test_the_epochs_may_be_more_than_before(tmp_path):
    make = by(keras.optimizers.Adam)
    go(make, tmp_path / "run", arrays(epochs=2))
    found = go(make, tmp_path / "run", arrays(epochs=3))
    assert_same(found, go(make, None, arrays(epochs=3)))


def test_a_log_goes_on_where_it_was(tmp_path, monkeypatch):
    expected, log = tmp_path / "expected.csv", tmp_path / "log.csv"
    make = by(keras.optimizers.Adam)
    logger = keras.callbacks.CSVLogger(expected)
    _, folders = states(make, arrays(), tmp_path, monkeypatch, [logger])
    for number, folder in enumerate(folders):
        # what the killed run has written since, or what a power failure leaves
        log.write_bytes(expected.read_bytes() if number % 2 else b"")
        go(make, folder, arrays(), callbacks=[keras.callbacks.CSVLogger(log)])
        assert log.read_text() == expected.read_text()
