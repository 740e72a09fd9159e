"""``fit`` against Keras' own on the same seeds: History, weights, slots, metrics."""

import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models
from tests.train.nets import (
    CLASSES,
    SHAPE,
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images()
SPARSE = Y.argmax(axis=1)
HELD_OUT = images(16, seed=9)
WEIGHTS = np.linspace(0, 3, len(X))

ARGUMENTS = {
    "defaults": {"batch_size": None},
    "batch_larger_than_data": {"batch_size": 1000},
    "validation_data": {"validation_data": HELD_OUT, "epochs": 2},
    "validation_weights": {"validation_data": (*HELD_OUT, np.linspace(0, 2, 16))},
    "validation_split": {"validation_split": 1 / 3, "epochs": 2},
    "validation_freq": {"validation_data": HELD_OUT, "validation_freq": 2, "epochs": 4},
    "validation_freq_list": {"validation_data": HELD_OUT, "validation_freq": [1, 3], "epochs": 3},
    "validation_steps": {
        "validation_data": HELD_OUT, "validation_steps": 1, "validation_batch_size": 8
    },
    "no_shuffle": {"shuffle": False},
    "shuffle_batch": {"shuffle": "batch", "epochs": 2},
    "class_weight": {"class_weight": {0: 0.5, 1: 2.0, 2: 1.25}, "epochs": 2},
    "sample_weight": {"sample_weight": WEIGHTS, "epochs": 2},
    "sample_weight_split": {"sample_weight": WEIGHTS, "validation_split": 1 / 3},
    "initial_epoch": {"initial_epoch": 3, "epochs": 5},
    "steps_alone": {"batch_size": None, "steps_per_epoch": 3, "epochs": 2},
    "steps_below_the_data": {"steps_per_epoch": 1, "epochs": 3},
    "finished": {"initial_epoch": 3, "epochs": 2},
    "shuffle_none": {"shuffle": None},
    "split_none": {"validation_split": None},
    "split_beside_data": {"validation_split": 0.5, "validation_data": HELD_OUT},
    "validation_list": {"validation_data": list(HELD_OUT)},
    "validation_freq_never": {"validation_data": HELD_OUT, "validation_freq": 5, "epochs": 2},
    "weights_column": {"sample_weight": WEIGHTS[:, None]},
    "one_callback": {"callbacks": keras.callbacks.EarlyStopping("loss")},
    "numpy_numbers": {"epochs": np.int64(2), "steps_per_epoch": np.int32(3)},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_mean_what_they_mean_in_keras(name):
    arguments = ARGUMENTS[name]
    theirs, ours = compiled(convnet()), compiled(convnet(models.Sequential))
    expected = seeded_fit(theirs, X, Y, **arguments)
    assert_same_history(seeded_fit(ours, X, Y, **arguments), expected)
    assert_same_state(ours, theirs)


def test_the_last_batch_may_hold_one_image():
    theirs, ours = compiled(convnet()), compiled(convnet(models.Sequential))
    x, y = X[:33], Y[:33]
    assert_same_history(seeded_fit(ours, x, y), seeded_fit(theirs, x, y))
    assert_same_state(ours, theirs)


def test_data_that_run_out_end_the_epoch_with_keras_warning():
    arguments = {"steps_per_epoch": 4, "epochs": 2}
    theirs, ours = compiled(convnet()), compiled(convnet(models.Sequential))
    with pytest.warns(UserWarning, match="ran out of data"):
        expected = seeded_fit(theirs, X, Y, **arguments)
    with pytest.warns(UserWarning, match="ran out of data"):
        assert_same_history(seeded_fit(ours, X, Y, **arguments), expected)
    assert_same_state(ours, theirs)


COMPILATIONS = {
    "sparse": (SPARSE, {"loss": "sparse_categorical_crossentropy"}),
    "sparse_column": (SPARSE[:, None], {"loss": "sparse_categorical_crossentropy"}),
    "no_metrics": (Y, {"metrics": None}),
    "weighted_metrics": (Y, {"weighted_metrics": ["accuracy"]}),
    "metric_object": (Y, {"metrics": [keras.metrics.CategoricalAccuracy(name="right")]}),
    "python_metrics": (Y, {"metrics": ["mae", "accuracy"], "weighted_metrics": ["mse"]}),
    "function_metric": (Y, {"metrics": [lambda y, p: keras.ops.max(keras.ops.abs(y - p))]}),
    "mse": (Y, {"loss": "mse", "optimizer": "adam"}),
    "sum": (Y, {"loss": keras.losses.CategoricalCrossentropy(reduction="sum")}),
    "binary": (Y, {"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]}),
    "steps_per_execution": (Y, {"steps_per_execution": 2}),
}


@pytest.mark.parametrize("name", COMPILATIONS)
def test_what_compile_says_is_followed(name):
    y, options = COMPILATIONS[name]
    models_of = {}
    for label, kind in (("theirs", keras.Sequential), ("ours", models.Sequential)):
        # a metric keeps state and the optimizer belongs to one model: both are made anew
        fresh = {
            key: keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
            if isinstance(value, keras.losses.Loss) else value
            for key, value in options.items()
        }
        models_of[label] = compiled(convnet(kind), **fresh)
    theirs, ours = models_of["theirs"], models_of["ours"]
    arguments = {
        "epochs": 2, "sample_weight": WEIGHTS, "validation_data": (X[:16], y[:16]),
    }
    expected = seeded_fit(theirs, X, y, **arguments)
    assert_same_history(seeded_fit(ours, X, y, **arguments), expected)
    assert_same_state(ours, theirs)
    for key, value in theirs.get_metrics_result().items():
        np.testing.assert_allclose(ours.get_metrics_result()[key], value, atol=2e-5)
    mine, other = (model.evaluate(X, y, 16, verbose=0) for model in (ours, theirs))
    np.testing.assert_allclose(mine, other, atol=2e-5)


def test_regularizers_count_in_the_loss():
    def build(kind):
        keras.utils.set_random_seed(3)
        return compiled(kind([
            keras.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02)),
            layers.Softmax(),
        ]))

    theirs, ours = build(keras.Sequential), build(models.Sequential)
    arguments = {"validation_data": HELD_OUT, "epochs": 2}
    expected = seeded_fit(theirs, X, Y, **arguments)
    assert_same_history(seeded_fit(ours, X, Y, **arguments), expected)
    assert ours.test_on_batch(X, Y) == pytest.approx(theirs.test_on_batch(X, Y), abs=2e-5)


def test_a_model_without_input_is_built_at_the_first_batch():
    def build(kind):
        keras.utils.set_random_seed(3)
        return compiled(kind([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(CLASSES)]),
                        loss="mse")

    theirs, ours = build(keras.Sequential), build(models.Sequential)
    assert_same_history(seeded_fit(ours, X, Y, epochs=2), seeded_fit(theirs, X, Y, epochs=2))
    assert_same_state(ours, theirs)
    assert ours.predict(X[:3], verbose=0).shape == (3, CLASSES)


def test_a_functional_model_trains_as_keras_trains_it():
    def build(kind):
        keras.utils.set_random_seed(3)
        inputs = keras.Input(SHAPE, name="picture")
        hidden = layers.Conv2D(2, 3, activation="relu")(inputs)
        return compiled(kind(inputs, layers.Dense(CLASSES)(layers.Flatten()(hidden))), loss="mse")

    theirs, ours = build(keras.Model), build(models.Model)
    assert_same_history(seeded_fit(ours, X, Y), seeded_fit(theirs, X, Y))
    assert_same_state(ours, theirs)
    for same in ({"picture": X}, [X]):
        assert ours.evaluate(same, Y, verbose=0) == ours.evaluate(X, Y, verbose=0)


def test_a_second_fit_goes_on_where_the_first_stopped():
    theirs, ours = (
        compiled(convnet(kind), keras.optimizers.Adam(amsgrad=True))
        for kind in (keras.Sequential, models.Sequential)
    )
    for _ in range(2):
        assert_same_history(seeded_fit(ours, X, Y), seeded_fit(theirs, X, Y))
    assert_same_state(ours, theirs)
    assert ours.optimizer.iterations.numpy() == 6


def test_plain_keras_goes_on_where_ours_stopped():
    theirs, ours = compiled(convnet()), compiled(convnet(models.Sequential))
    seeded_fit(theirs, X, Y)
    seeded_fit(ours, X, Y)
    convmill.restore(ours)
    assert_same_history(seeded_fit(ours, X, Y), seeded_fit(theirs, X, Y))
    assert_same_state(ours, theirs)


def test_learning_rate_schedules_follow_the_iterations():
    def build(kind):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)
        return compiled(convnet(kind), keras.optimizers.SGD(schedule, momentum=0.9))

    theirs, ours = build(keras.Sequential), build(models.Sequential)
    assert_same_history(seeded_fit(ours, X, Y, epochs=2), seeded_fit(theirs, X, Y, epochs=2))
    assert_same_state(ours, theirs)


def test_layers_frozen_after_compile_stay_as_they_are():
    model = compiled(convnet(models.Sequential))
    seeded_fit(model, X, Y)
    model.layers[0].trainable = False
    frozen, head = model.layers[0].get_weights(), model.layers[-1].get_weights()
    seeded_fit(model, X, Y)
    for before, after in zip(frozen, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(head[0], model.layers[-1].get_weights()[0])


@pytest.mark.parametrize("optimizer", ["nadam", "adafactor"])  # compiled, bridged
def test_where_nothing_is_trained_no_step_is_counted(optimizer):
    """As halves of a GAN whose layers were frozen after ``compile``."""
    histories = []
    for door in (convmill.accelerate, lambda model: model):
        keras.utils.set_random_seed(1)
        body = layers.Flatten(), layers.BatchNormalization()
        head = layers.Dense(CLASSES, activation="softmax")
        model = keras.Sequential([keras.Input(X.shape[1:]), *body, head])
        model.compile(optimizer, "categorical_crossentropy")
        model.trainable = False
        history = door(model).fit(X, Y, epochs=2, verbose=0).history["loss"]
        assert int(model.optimizer.iterations.numpy()) == 0
        histories.append(history)
    np.testing.assert_allclose(*histories, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64", "int32", "bool"])
def test_other_kinds_of_numbers_train_as_in_keras(dtype):
    x = (X * 4).astype(dtype)
    theirs, ours = compiled(convnet()), compiled(convnet(models.Sequential))
    assert_same_history(seeded_fit(ours, x, Y), seeded_fit(theirs, x, Y))


def test_views_and_files_are_read_in_place(tmp_path):
    """Negative strides, read-only arrays, memory maps, a missing channel axis."""
    expected = seeded_fit(compiled(convnet()), X, Y).history["loss"]
    path = tmp_path / "images.dat"
    np.memmap(path, "float32", "w+", shape=X.shape)[:] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    alike = {
        "backwards": X[::-1].copy()[::-1],
        "memory map": np.memmap(path, "float32", "r", shape=X.shape),
        "read only": read_only,
        "no channels": X[..., 0],
        "fortran": np.asfortranarray(X),
        "big step": np.repeat(X, 2, axis=0)[::2],
    }
    for name, x in alike.items():
        model = compiled(convnet(models.Sequential))
        assert seeded_fit(model, x, Y).history["loss"] == pytest.approx(expected), name


def test_the_data_are_not_copied(monkeypatch):
    """float64 images reach the engine as the very memory that was passed."""
    from convmill.runtime.program import Program

    seen = []
    train = Program.train

    def spy(self, batches, *args, **kwargs):
        seen.append(batches.inputs[0])
        return train(self, batches, *args, **kwargs)

    monkeypatch.setattr(Program, "train", spy)
    x = X.astype("float64")
    seeded_fit(compiled(convnet(models.Sequential)), x, Y)
    assert len(seen) == 1
    assert np.shares_memory(seen[0], x)
    assert seen[0].dtype == np.float64


def test_history_hangs_on_the_model():
    model = compiled(convnet(models.Sequential))
    history = seeded_fit(model, X, Y)
    assert model.history is history
    assert history.params == {"verbose": 0, "epochs": 1, "steps": 3}
