"""Callbacks may change data in place and compile the model anew: seen when Keras on JAX sees it."""

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from tests.train.nets import (
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

pytestmark = pytest.mark.usefixtures("strict")

COUNT, SIZE = 4, 2
NUMBERS = ("int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64", "bool")
ORDERS = (">i2", ">i4", ">f2", ">f4", ">f8")  # Keras on JAX takes the wide and the narrow floats
HOOKS = ("on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end")


class Watched(keras.Sequential):
    """Plain Keras, run eagerly, whose steps only note the numbers that they are to run on."""

    def train_step(self, state, data):
        self.seen.append([float(np.ravel(array)[0]) for array in data])
        return {}, state


@pytest.fixture
def seen(monkeypatch):
    """A list of what the steps of Programs run on: the first number of x, y and the weights."""
    from convmill.runtime.program import Program

    found = []
    train = Program.train

    def watched(self, batches, *args, **kwargs):
        for start in range(0, len(batches.order), batches.batch_size):
            first = batches.order[start]
            arrays = (batches.x, batches.y, batches.sample_weight)
            found.append([float(np.ravel(array[first])[0]) for array in arrays])
        return train(self, batches, *args, **kwargs)

    monkeypatch.setattr(Program, "train", watched)
    return found


def change(array):
    """Adds 1 in place; of truth values it makes the other."""
    if array.dtype == bool:
        np.logical_not(array, out=array)
    else:
        np.add(array, np.ones((), array.dtype), out=array)


def fit_and_change(kind, dtype, hook, steps, layout=lambda array: array):
    """The arrays are zeros, and each time that ``hook`` is called one more; returns the model."""
    stack = [keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(1)]
    model = kind(stack)
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=kind is Watched)
    model.seen = []
    shapes = ((COUNT, 2, 2, 1), (COUNT, 1), (COUNT,))
    x, y, weight = (layout(np.zeros(shape, dtype)) for shape in shapes)

    def changing(index, logs=None):
        for array in (x, y, weight):
            change(array)

    model.fit(
        x, y, sample_weight=weight, batch_size=SIZE, epochs=3, shuffle=False, verbose=0,
        steps_per_epoch=steps, callbacks=[keras.callbacks.LambdaCallback(**{hook: changing})],
    )
    return model


@pytest.mark.parametrize("steps", [None, 1])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_changed_in_place_are_seen_when_keras_sees_them(dtype, hook, steps, seen):
    expected = list(fit_and_change(Watched, dtype, hook, steps).seen)
    fit_and_change(models.Sequential, dtype, hook, steps)
    assert seen == expected
    assert len({tuple(step) for step in seen}) > 1  # the changes do show


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("dtype", ORDERS)
def test_the_order_of_bytes_changes_nothing(dtype, hook, seen):
    fit_and_change(models.Sequential, np.dtype(dtype).newbyteorder("="), hook, None)
    expected = seen.copy()
    seen.clear()
    fit_and_change(models.Sequential, dtype, hook, None)
    assert seen == expected


LAYOUTS = {
    "backwards": lambda array: array[::-1],
    "every second": lambda array: np.repeat(array, 2, axis=0)[::2],
    "fortran": np.asfortranarray,
    "part of more": lambda array: np.stack([array, array], axis=-1)[..., 0],
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_with_gaps_are_seen_changed_too(layout, dtype, seen):
    expected = fit_and_change(Watched, dtype, HOOKS[1], None, LAYOUTS[layout]).seen
    fit_and_change(models.Sequential, dtype, HOOKS[1], None, LAYOUTS[layout])
    assert seen == expected


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_validation_data_changed_in_place_are_seen(dtype):
    x, y = images()
    histories = []
    for kind in (keras.Sequential, models.Sequential):
        held_out = [(200 * x[:16]).astype(dtype), y[:16].astype(dtype)]

        def darken(epoch, logs=None, held_out=held_out):
            held_out[0] //= np.ones((), dtype) * 2
            held_out[1][...] = np.roll(held_out[1], 1, axis=0)

        histories.append(
            seeded_fit(
                compiled(convnet(kind)), x, y, epochs=3, validation_data=tuple(held_out),
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=darken)],
            )
        )
    assert_same_history(histories[1], histories[0], tolerance=1e-4)
    assert len(set(histories[0].history["val_loss"])) == 3


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end"])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
def test_a_label_changed_to_what_cannot_be_is_found(dtype, hook):
    """Native code takes labels for places in memory: none is read that was not checked."""
    x, y = images(20)
    labels = y.argmax(axis=1).astype(dtype)
    model = compiled(convnet(models.Sequential), loss="sparse_categorical_crossentropy")
    kept = []

    def spoil(index, logs=None):
        kept[:] = model.get_weights()
        labels[...] = 200

    with pytest.raises(ValueError, match=r"In epoch \d, .* trained before it.*= 200") as raised:
        model.fit(
            x, labels, batch_size=10, epochs=2, verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(**{hook: spoil})],
        )
    count, where = ("1 batch was", "1, batch 1 of the data")
    if hook == "on_epoch_end":
        count, where = ("2 batches were", "2, the data")
    assert f"In epoch {where} ({count} trained" in str(raised.value)
    for before, after in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", ">i4", ">u2"])
def test_arrays_in_the_other_order_of_bytes(dtype):
    """Images, labels and weights; in every method."""
    x, y = images()
    native = np.dtype(dtype).newbyteorder("=")
    x, y = (100 * x).astype(dtype), y.astype(dtype)
    weight = (1 + np.arange(len(x)) % 3).astype(dtype)
    one, two = (compiled(convnet(models.Sequential), metrics=["accuracy", "mae"]) for _ in "ab")

    def run(model, x, y, weight):
        seeded_fit(model, x, y, sample_weight=weight, epochs=2, validation_data=(x, y, weight))
        seeded_fit(model, x, y, class_weight={1: 2.0})
        return [
            model.history.history,
            model.evaluate(x, y, sample_weight=weight, verbose=0),
            model.predict(x, verbose=0),
            model.train_on_batch(x, y, weight),
            model.test_on_batch(x, y, weight),
            model.predict_on_batch(x),
        ]

    expected = run(one, *(array.astype(native) for array in (x, y, weight)))
    keras.tree.map_structure(np.testing.assert_array_equal, run(two, x, y, weight), expected)
    assert_same_state(two, one, tolerance=0)


class Compile(keras.callbacks.Callback):
    """Compiles the model anew, once, at some hook; plain Keras on JAX cannot do that."""

    def __init__(self, hook, **options):
        super().__init__()
        self.options = {"loss": "mse", "metrics": ["mae", "accuracy"]} | options

        def act(*args, **kwargs):
            if self.options is not None:
                options, self.options = self.options, None
                compiled(self.model, keras.optimizers.SGD(0.1), **options)

        setattr(self, hook, act)


@pytest.mark.parametrize("hears_batches", [False, True], ids=["quiet", "hooked"])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_epoch_end"])
def test_a_callback_may_compile_the_model_anew(hook, hears_batches):
    x, y = images()
    model, other = (compiled(convnet(models.Sequential), metrics=None) for _ in range(2))
    callbacks = [Compile(hook)]

    def hear(batch, logs):
        """Has batches announced one by one."""

    if hears_batches:
        callbacks.append(keras.callbacks.LambdaCallback(on_train_batch_end=hear))
    history = seeded_fit(model, x, y, epochs=2, shuffle=False, callbacks=callbacks)
    before = int(hook == "on_epoch_end")  # epochs that ran as first compiled
    if before:
        seeded_fit(other, x, y, shuffle=False)
    compiled(other, keras.optimizers.SGD(0.1), loss="mse", metrics=["mae", "accuracy"])
    expected = seeded_fit(other, x, y, epochs=2 - before, shuffle=False)
    assert_same_state(model, other, tolerance=0)
    for name in ("loss", "mae", "accuracy"):
        assert history.history[name][-1] == expected.history[name][-1]


@pytest.mark.parametrize(
    "hook", ["on_train_batch_begin", "on_train_batch_end", "on_test_begin", "on_test_end"]
)
def test_a_callback_may_compile_in_the_midst_of_an_epoch(hook):
    x, y = images()
    model = compiled(convnet(models.Sequential))
    history = seeded_fit(
        model, x, y, epochs=3, validation_data=(x, y), callbacks=[Compile(hook)]
    )
    assert set(history.history) >= {"loss", "accuracy", "mae", "val_loss", "val_accuracy"}
    assert all(np.isfinite(values).all() for values in history.history.values())
    assert model.optimizer.iterations.numpy() == {
        "on_train_batch_begin": 9, "on_train_batch_end": 8,
    }.get(hook, 6)


def test_another_loss_takes_the_labels_that_fit_it():
    """From the next epoch on labels are indices, changed in place with the loss."""
    x, y = images()
    model = compiled(convnet(models.Sequential))
    spoken = Compile("on_epoch_end", loss="sparse_categorical_crossentropy", metrics=None)
    with pytest.raises(ValueError, match=r"In epoch 2, the data \(3 batches were .*fits the loss"):
        seeded_fit(model, x, y, epochs=2, callbacks=[spoken])
