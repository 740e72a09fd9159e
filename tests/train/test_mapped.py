"""Mapped files as data: the same numbers as from arrays, and never copied whole."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill.train import samples

COUNT, SIDE = 512, 16
SHAPE = (SIDE, SIDE, 4)
WHOLE = COUNT * SIDE * SIDE * 4  # numbers in x


class Hook(keras.callbacks.Callback):
    """Hears of each batch."""

    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Puts an array into a file, and gives it back mapped."""
    monkeypatch.setattr(samples, "AT_ONCE_BYTES", WHOLE // 16)

    def put(name, array, mode="r"):
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode=mode)

    return put


def classifier():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.AveragePooling2D(8),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return convmill.accelerate(model, threads=1, strict=True)


def autoencoder():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 1)])
    model.compile("sgd", "mse")
    return convmill.accelerate(model, threads=1, strict=True)


def images(dtype):
    random = np.random.default_rng(1)
    if np.dtype(dtype).kind in "ui":
        return random.integers(0, 8, (COUNT, *SHAPE)).astype(dtype)
    return random.random((COUNT, *SHAPE)).astype(dtype)


def run(model, x, y, callbacks):
    """Trains, measures and predicts; all that comes of it."""
    keras.utils.set_random_seed(7)
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
    return history, model.evaluate(x, y, verbose=0), model.predict(x[:40], verbose=0)


def most_memory(work):
    """Bytes that Python and NumPy held at most while ``work`` was done, beyond those before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("callbacks", [[], [Hook()]], ids=["whole", "batches"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "float16", "int16", ">f4"])
def test_images(mapped, dtype, callbacks):
    x = images(dtype)
    y = np.arange(COUNT) % 3
    expected = run(classifier(), x, y, callbacks)
    model = classifier()
    x_mapped, y_mapped = mapped("x", x), mapped("y", y)
    history, scores, predicted = run(model, x_mapped, y_mapped, callbacks)
    assert history == expected[0]
    assert scores == expected[1]
    np.testing.assert_array_equal(predicted, expected[2])

    def again():
        model.fit(x_mapped, y_mapped, verbose=0, callbacks=callbacks)
        model.evaluate(x_mapped, y_mapped, verbose=0)
        model.predict(x_mapped, verbose=0)

    assert most_memory(again) < x.nbytes / 2


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_targets_as_large_as_the_images(mapped, dtype):
    x = images(dtype)
    expected = run(autoencoder(), x, x, [])
    model = autoencoder()
    file = mapped("x", x)
    history, score, predicted = run(model, file, file, [])
    assert history == expected[0]
    assert score == expected[1]
    np.testing.assert_array_equal(predicted, expected[2])

    def again():
        model.fit(file, file, batch_size=8, verbose=0)
        model.evaluate(file, file, batch_size=8, verbose=0)

    assert most_memory(again) < WHOLE  # in float32 they take four times as much


def test_keras_has_the_same_numbers(mapped):
    x, y = mapped("x", images("int16")), mapped("y", np.arange(COUNT) % 3)
    ours = run(classifier(), x, y, [])
    plain = convmill.restore(classifier())
    theirs = run(plain, np.array(x), np.array(y), [])
    np.testing.assert_allclose(ours[0]["loss"], theirs[0]["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-4, atol=1e-6)


def test_a_bad_number_far_behind_is_named(mapped):
    x, y = images("float16"), np.arange(COUNT) % 3
    y[400] = 3
    with pytest.raises(ValueError, match=r"y\[400\] = 3"):
        classifier().fit(mapped("x", x), mapped("y", y), verbose=0)
    weights = np.ones(COUNT)
    weights[401] = np.nan
    y[400] = 0
    with pytest.raises(ValueError, match=r"sample_weight\[401\] = nan"):
        classifier().fit(mapped("x", x), mapped("y", y), sample_weight=weights, verbose=0)
    targets = np.zeros((COUNT, *SHAPE), dtype=np.float32)
    targets[402, 1] = 7
    segments = mapped("targets", targets[..., 0])
    model = autoencoder()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"y\[402, 1, 0\] = 7.0"):
        model.fit(mapped("x", x), segments, verbose=0)
