"""StopOnNaN: the step and the layer in which a training is finite no more."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.callbacks import StopOnNaN

pytestmark = pytest.mark.usefixtures("strict")

SIZE, STEPS = 8, 10
RNG = np.random.default_rng(0)
X = RNG.random((SIZE * STEPS, 4), np.float32)
Y = RNG.random((SIZE * STEPS, 2), np.float32)


class Batches(keras.utils.PyDataset):
    """The same data as a stream."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rows = slice(index * SIZE, (index + 1) * SIZE)
        return self.x[rows], self.y[rows]


def net(rate=0.01):
    keras.utils.set_random_seed(1)
    stack = [
        keras.Input((4,)),
        layers.Dense(5, kernel_initializer="ones", name="first"),
        layers.Activation("exponential", name="power"),
        layers.Dense(2, kernel_initializer="zeros", name="last"),
    ]
    model = models.Sequential(stack)
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile=False)
    return model


def fit(model, x, callback, kind, y=Y):
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    callbacks = [callback, hook] if kind == "heard" else [callback]
    options = {"epochs": 3, "verbose": 0, "shuffle": False, "callbacks": callbacks}
    if kind == "stream":
        return model.fit(Batches(x, y), **options)
    return model.fit(x, y, batch_size=SIZE, **options)


def one_by_one(model, x, steps):
    """Weights behind so many steps, made one by one."""
    for step in range(steps):
        rows = slice(step % STEPS * SIZE, (step % STEPS + 1) * SIZE)
        model.train_on_batch(x[rows], Y[rows])
    return model.get_weights()


def assert_same(weights, others):
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)


KINDS = ("arrays", "heard", "stream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ["stop", "restore", "raise"])
def test_an_output_that_overflows(kind, action, capsys):
    x = X.copy()
    x[6 * SIZE + 3] = 1e4  # its exponential is infinite
    model, callback = net(1e-6), StopOnNaN(action)
    if action == "raise":
        with pytest.raises(FloatingPointError, match=r"step 7 of epoch 1: the output of layer 'p"):
            fit(model, x, callback, kind)
    else:
        history = fit(model, x, callback, kind)
        assert history.epoch == [0]
        assert (
            "no more from step 7 of epoch 1: the output of layer 'power'" in capsys.readouterr().err
        )
        assert not np.isfinite(history.history["loss"][0])
    found = callback.found
    assert (found.epoch, found.step, found.layer, found.what) == (1, 7, "power", "the output")
    if action == "restore":
        assert_same(model.get_weights(), one_by_one(net(1e-6), x, 6))
        assert int(model.optimizer.iterations) == 6
    else:
        assert not all(np.isfinite(one).all() for one in model.get_weights())


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_overflows(kind):
    """The loss of step 4 is finite, and that of step 5 is not, since step 4 made weights that are
    not."""
    rate, x, y = 1e-30, X.copy(), Y.copy()
    x[3 * SIZE + 1], y[3 * SIZE + 1] = 15, 1e18
    model, callback = net(rate), StopOnNaN("restore")
    fit(model, x, callback, kind, y)
    found = callback.found
    assert (found.epoch, found.step, found.layer, found.what) == (1, 4, "last", "the weights")
    assert_same(model.get_weights(), one_by_one(net(rate), x, 3))


def test_what_stays_finite_is_not_touched():
    model, other, callback = net(), net(), StopOnNaN()
    history = fit(model, X, callback, "arrays")
    expected = other.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0, shuffle=False)
    assert callback.found is None
    assert history.history == expected.history
    assert_same(model.get_weights(), other.get_weights())


def test_an_action_that_there_is_not():
    words = r"action must be one of 'stop', 'raise', 'restore'\. Received"
    with pytest.raises(ValueError, match=words):
        StopOnNaN("end")
