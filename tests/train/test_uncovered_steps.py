"""Steps that Keras makes in the midst of a native run: on JAX they delete the arrays that the
variables held. Checkpoints and StopOnNaN need what was there before."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.callbacks import Checkpoint, StopOnNaN
from convmill.train.checkpoint import archive
from convmill.train.checkpoint.folder import Folder
from convmill.train.checkpoint.keeper import Keeper

SIZE, STEPS = 8, 6
UNCOVERED = (1, 3, 4)
RNG = np.random.default_rng(0)
X = RNG.random((SIZE * STEPS, 4), np.float32)
Y = np.repeat(RNG.random((SIZE * STEPS, 1), np.float32), 2, axis=1)


class Mixed(keras.utils.PyDataset):
    """Some of its batches have targets of a shape that only Keras takes: it spreads them."""

    def __init__(self, x=X, y=Y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rows = slice(index * SIZE, (index + 1) * SIZE)
        y = self.y[rows]
        return self.x[rows], y[:, :1] if index in UNCOVERED else y


def net(rate=0.01):
    keras.utils.set_random_seed(1)
    stack = [
        keras.Input((4,)),
        layers.Dense(5, kernel_initializer="ones"),
        layers.Activation("exponential", name="power"),
        layers.Dropout(0.2),
        layers.Dense(2, kernel_initializer="zeros", name="last"),
    ]
    model = models.Sequential(stack)
    metrics = ["mae", keras.metrics.CosineSimilarity(name="cosine")]
    model.compile(keras.optimizers.SGD(rate, momentum=0.5), "mse", metrics=metrics)
    return model


def left(model, history):
    every = [*model.variables, *model.optimizer.variables]
    return [one.numpy() for one in every], history.history


def assert_same(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1] == expected[1]


@pytest.mark.parametrize("trained", ["stream", "arrays"])
def test_states_are_held_until_the_run_has_ended(trained, tmp_path, monkeypatch):
    def run(folder):
        kept = [Checkpoint(folder, "1 steps")] if folder else []
        data = {"x": X, "y": Y, "batch_size": SIZE} if trained == "arrays" else {"x": Mixed()}
        model = net()
        options = {"epochs": 2, "verbose": 0, "shuffle": False, "validation_data": Mixed()}
        return left(model, model.fit(**data, **options, callbacks=kept))

    expected, plain, states = run(None), Keeper._state, []

    def taken(self, *training):
        states.append(plain(self, *training))
        return states[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_state", taken)
        assert_same(run(tmp_path / "run"), expected)
    for number, state in enumerate(states):
        folder = tmp_path / str(number)
        folder.mkdir()
        archive.write(folder / "checkpoint-00000001.zip", state)
    assert_same(run(tmp_path / str(len(states) // 3)), expected)


def test_whatever_keeps_a_checkpoint_from_being_written_is_a_warning(tmp_path, monkeypatch):
    def write(self, content):
        raise RuntimeError("Array has been deleted.")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", write)
        with pytest.warns(RuntimeWarning, match="could not be written: Array has been deleted"):
            history = net().fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path, "1h")])
    assert len(history.history["loss"]) == 1


def fit(model, data, callback, heard=False):
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    callbacks = [callback] + [hook] * heard
    model.fit(data, epochs=3, verbose=0, shuffle=False, callbacks=callbacks)


def after(model, data, steps):
    """Weights behind so many steps, made one by one."""
    for step in range(steps):
        model.train_on_batch(*data[step])
    return model.get_weights()


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
def test_where_an_output_overflows(step, heard):
    data = Mixed(X.copy())
    data.x[step * SIZE + 3] = 1e4  # its exponential is infinite
    model, callback = net(1e-6), StopOnNaN("restore")
    fit(model, data, callback, heard)
    found = callback.found
    assert (found.epoch, found.step, found.what) == (1, step + 1, "the output")
    assert found.layer == "power"
    assert int(model.optimizer.iterations) == step
    for one, other in zip(model.get_weights(), after(net(1e-6), data, step), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
def test_where_a_gradient_overflows(step, heard):
    """The loss of the step is finite; that of the next one is not, which the last one makes in
    another epoch."""
    data = Mixed(X.copy(), Y.copy())
    data.x[step * SIZE + 1], data.y[step * SIZE + 1] = 15, 1e18
    model, callback = net(1e-30), StopOnNaN("restore")
    fit(model, data, callback, heard)
    found = callback.found
    assert (found.epoch, found.step, found.what) == (1, step + 1, "the weights")
    for one, other in zip(model.get_weights(), after(net(1e-30), data, step), strict=True):
        np.testing.assert_array_equal(one, other)


def test_measuring_goes_on_behind_a_step_of_keras():
    model, other = net(), net()
    expected = other.evaluate(X, Y, batch_size=SIZE, verbose=0)
    np.testing.assert_allclose(model.evaluate(Mixed(), verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-6)


def plain_net():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(1e30), "mse")  # not finite at the second step
    return model


def test_a_guard_goes_from_a_compiled_model_to_one_that_keras_trains():
    guard = StopOnNaN("raise")
    net().fit(X, Y, verbose=0, callbacks=[guard])
    with pytest.raises(FloatingPointError, match="epoch 1 is not finite"):
        plain_net().fit(X, Y, verbose=0, callbacks=[guard])
    twice = [guard, Checkpoint("no folder"), Checkpoint("no folder")]
    with pytest.raises(ValueError, match="One Checkpoint is enough"):
        net().fit(X, Y, verbose=0, callbacks=twice)
    with pytest.raises(FloatingPointError, match="epoch 1 is not finite"):
        plain_net().fit(X, Y, verbose=0, callbacks=[guard])


def test_nothing_is_restored_where_keras_trains():
    model = plain_net()
    with pytest.warns(RuntimeWarning, match="the weights will stay as they are"):
        history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[StopOnNaN("restore")])
    assert history.epoch == [0]
