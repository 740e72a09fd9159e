"""Small nets and small data, the same for plain Keras and for ours."""

import random

import keras
import numpy as np
from keras import layers

SHAPE = (6, 6, 1)
CLASSES = 3


def images(count=48, seed=0, dtype="float32"):
    """Random images, and one-hot targets that depend on them: (count, 6, 6, 1), (count, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, *SHAPE))
    brightest = np.argmax(x.reshape(count, 3, -1).sum(axis=2), axis=1)
    return x.astype(dtype), np.eye(CLASSES, dtype="float32")[brightest]


class Unknown(layers.Layer):
    """A layer that the compiler does not know, with a weight: it sorts."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, inputs):
        return keras.ops.sort(inputs * self.scale, axis=-1)


def convnet(sequential=None, dropout=0.0):
    """A convnet with the same weights each time it is made."""
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input(SHAPE),
        layers.Conv2D(2, 3, activation="relu", name="see"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Flatten(name="flat"),
        layers.Dropout(dropout, seed=4, name="drop"),
        layers.Dense(CLASSES, activation="softmax", name="say"),
    ]
    return (sequential or keras.Sequential)(stack, name="net")


def counter(sequential=None):
    """A compiled model whose one weight is how many steps have been made, if labels are far away:
    each step adds the rate, 1, and no number of images changes that."""
    stack = [keras.Input((1,)), layers.Dense(1, use_bias=False)]
    model = (sequential or keras.Sequential)(stack)
    model.compile(keras.optimizers.SGD(1.0), "mean_absolute_error", metrics=["mae"])
    model.set_weights([np.zeros((1, 1), np.float32)])
    return model


def compiled(model, optimizer="rmsprop", loss="categorical_crossentropy", **options):
    """The model, compiled with accuracy unless told otherwise.

    ``jit_compile=False`` keeps plain Keras quick: JAX then reuses its operations across models.
    """
    options.setdefault("metrics", ["accuracy"])
    options.setdefault("jit_compile", False)
    model.compile(optimizer, loss, **options)
    return model


def seeded_fit(model, *args, **kwargs):
    """``fit`` from the same state of the random generators, without output, in batches of 16.

    Few different batch sizes keep plain Keras quick: JAX compiles its operations for each.
    """
    np.random.seed(11)
    random.seed(12)  # shuffles a PyDataset
    kwargs = {"verbose": 0, "batch_size": 16} | kwargs
    return model.fit(*args, **kwargs)


def assert_same_history(ours, theirs, tolerance=2e-5):
    """The same keys in the same order, the same number of epochs, and close figures."""
    assert list(ours.history) == list(theirs.history)
    assert ours.epoch == theirs.epoch
    for name, values in theirs.history.items():
        np.testing.assert_allclose(ours.history[name], values, atol=tolerance, err_msg=name)


def assert_same_state(ours, theirs, tolerance=2e-5):
    """The same weights, optimizer slots, iterations and rate, closely."""
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=tolerance)
    for mine, other in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=tolerance, err_msg=mine.path)


X, Y = images(20)


def use_all(model):
    """Every method that may run compiled, once."""
    seeded_fit(model, X, Y, batch_size=32)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.train_on_batch(X, Y)
    model.test_on_batch(X, Y)
    model.predict_on_batch(X)


ALL = ["train", "evaluate", "evaluate", "train", "evaluate", "evaluate"]
