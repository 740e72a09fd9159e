"""Training arguments that make no sense, most of which Keras takes silently."""

import keras
import numpy as np
import pytest

import convmill
from convmill import models, settings
from tests.train.nets import compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(20)

BAD = {
    "batch_size_zero": ({"batch_size": 0}, "batch_size must be .* at least 1.*batch_size=0"),
    "batch_size_negative": ({"batch_size": -1}, "batch_size=-1"),
    "batch_size_fraction": ({"batch_size": 16.0}, r"batch_size=16\.0"),
    "batch_size_bool": ({"batch_size": True}, "batch_size=True"),
    "batch_size_huge": ({"batch_size": 10**30}, "batch_size must be .* from 1 to .*batch_size=10"),
    "epochs_negative": ({"epochs": -3}, "epochs=-3"),
    "initial_epoch_negative": ({"initial_epoch": -1}, "initial_epoch=-1"),
    "steps_zero": ({"steps_per_epoch": 0}, "steps_per_epoch=0"),
    "steps_negative": ({"steps_per_epoch": -1}, "steps_per_epoch=-1"),
    "split_negative": ({"validation_split": -0.5}, r"validation_split=-0\.5"),
    "split_above_one": ({"validation_split": 1.5}, r"validation_split=1\.5"),
    "split_one": ({"validation_split": 1.0}, r"validation_split=1\.0"),
    "split_nan": ({"validation_split": float("nan")}, "validation_split=nan"),
    "split_too_small": ({"validation_split": 0.999}, "no images.*0.999 of 20 images"),
    "freq_zero": ({"validation_data": (X, Y), "validation_freq": 0}, "validation_freq=0"),
    "freq_text": ({"validation_data": (X, Y), "validation_freq": "all"}, "validation_freq='all'"),
    "val_steps": ({"validation_data": (X, Y), "validation_steps": 0}, "validation_steps=0"),
    "val_batch": (
        {"validation_data": (X, Y), "validation_batch_size": 0}, "validation_batch_size=0"
    ),
    "shuffle": ({"shuffle": "yes"}, "shuffle='yes'"),
    "verbose": ({"verbose": 3}, "verbose=3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_give_one_clear_error(name):
    arguments, message = BAD[name]
    model = compiled(convnet(models.Sequential))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as raised:
        model.fit(X, Y, **({"verbose": 0} | arguments))
    assert "Received: " in str(raised.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("rate", [float("nan"), -0.1, 1e30, float("inf")])
@pytest.mark.parametrize("when", ["at compile", "in a callback"])
def test_learning_rates_that_cannot_be(rate, when):
    model = compiled(convnet(models.Sequential), keras.optimizers.SGD(0.1))

    def spoil(epoch, logs=None):
        model.optimizer.learning_rate = rate

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=spoil)]
    if when == "at compile":
        spoil(0)
        callbacks = []
    with pytest.raises(ValueError, match=r"learning_rate must be .*Received: learning_rate="):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
    assert model.optimizer.iterations.numpy() == (0 if when == "at compile" else 1)


@pytest.mark.parametrize(
    "optimizer",
    [keras.optimizers.RMSprop(clipnorm=-1.0), keras.optimizers.RMSprop(rho=2.0)],
    ids=["clipnorm", "rho"],
)
def test_constants_of_the_optimizer_that_cannot_be(optimizer):
    model = compiled(convnet(models.Sequential), optimizer)
    with pytest.raises(ValueError, match="Received: "):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("threads", [0, -1, 10_000, 1.5, "two", True])
def test_threads_that_cannot_be(threads):
    with pytest.raises(ValueError, match=f"from 1 to 256. Received: threads={threads!r}"):
        convmill.accelerate(convnet(), threads=threads)


@pytest.mark.parametrize("threads", ["0", "10000", "many"])
def test_threads_in_the_environment_that_cannot_be(threads, monkeypatch):
    monkeypatch.setenv("CONVMILL_THREADS", threads)
    with pytest.raises(ValueError, match="CONVMILL_THREADS must be"):
        compiled(convnet(models.Sequential)).fit(X, Y, verbose=0)


@pytest.mark.parametrize("threads", ["1", " 2 ", "+2"])
def test_threads_in_the_environment(threads, monkeypatch):
    monkeypatch.setenv("CONVMILL_THREADS", threads)
    assert settings.threads() == int(threads)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("evaluate", {"batch_size": 0}, "batch_size=0"),
        ("evaluate", {"steps": 0}, "steps=0"),
        ("evaluate", {"verbose": "loud"}, "verbose='loud'"),
        ("predict", {"batch_size": -2}, "batch_size=-2"),
        ("predict", {"steps": -1}, "steps=-1"),
    ],
)
def test_arguments_of_evaluate_and_predict(method, arguments, message):
    model = compiled(convnet(models.Sequential))
    data = (X,) if method == "predict" else (X, Y)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(*data, **({"verbose": 0} | arguments))


def test_numbers_of_numpy_are_numbers():
    model = compiled(convnet(models.Sequential))
    history = model.fit(X, Y, batch_size=np.int64(8), epochs=np.int32(2), verbose=np.int8(0))
    assert history.epoch == [0, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"epochs": 3, "initial_epoch": 3},
        {"epochs": 3, "initial_epoch": 7},
        {"epochs": 0, "validation_data": (X, Y)},
    ],
)
def test_a_run_that_is_over_before_it_begins_trains_nothing(arguments):
    """As when a script goes on with a training that has finished."""
    told = []

    class Tell(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            told.append(("begin", logs))

        def on_train_end(self, logs=None):
            told.append(("end", logs))

    for model in (compiled(convnet()), compiled(convnet(models.Sequential))):
        before = model.get_weights()
        history = model.fit(X, Y, verbose=0, callbacks=[Tell()], **arguments)
        assert (history.history, history.epoch, model.history) == ({}, [], history)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        assert model.optimizer.iterations.numpy() == 0
    assert told[:2] == told[2:]
