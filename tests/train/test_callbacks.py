"""Callbacks hear what Keras would tell them, in the same order, and may change what they like."""

import csv

import keras
import numpy as np
import pytest

from convmill import models
from convmill.train.hooks import hears_batches
from tests.train.nets import (
    assert_same_history,
    assert_same_state,
    compiled,
    convnet,
    images,
    seeded_fit,
)

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images()
HELD_OUT = images(16, seed=9)
HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


def pair(**options):
    """The same net for plain Keras and for ours."""
    return [compiled(convnet(kind), **options) for kind in (keras.Sequential, models.Sequential)]


class Diary(keras.callbacks.Callback):
    """Notes every hook that is called, with what it was told."""

    def __init__(self, hooks=HOOKS):
        super().__init__()
        self.entries = []
        for name in hooks:
            setattr(self, name, self._noting(name))

    def _noting(self, name):
        def note(*args, logs=None):
            if args and (args[-1] is None or isinstance(args[-1], dict)):
                args, logs = args[:-1], args[-1]
            self.entries.append((name, args, dict(logs or {})))

        return note


def assert_same_diary(ours, theirs):
    assert [entry[:2] for entry in ours.entries] == [entry[:2] for entry in theirs.entries]
    for (name, _, mine), (_, _, other) in zip(ours.entries, theirs.entries, strict=True):
        assert list(mine) == list(other), name
        for key, value in other.items():
            np.testing.assert_allclose(mine[key], value, atol=2e-5, err_msg=f"{name} {key}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"validation_data": HELD_OUT, "epochs": 2},
        {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "steps_per_epoch": 1, "epochs": 2},
    ],
    ids=["validation", "steps"],
)
def test_every_hook_is_called_as_in_keras(arguments):
    theirs, ours = pair(weighted_metrics=["accuracy"])
    diaries = Diary(), Diary()
    expected = seeded_fit(theirs, X, Y, callbacks=[diaries[0]], **arguments)
    assert_same_history(seeded_fit(ours, X, Y, callbacks=[diaries[1]], **arguments), expected)
    assert_same_diary(diaries[1], diaries[0])
    assert_same_state(ours, theirs)


def test_steps_per_execution_groups_the_batch_hooks():
    theirs, ours = pair(steps_per_execution=2)
    diaries = Diary(), Diary()
    seeded_fit(theirs, X, Y, callbacks=[diaries[0]])
    seeded_fit(ours, X, Y, callbacks=[diaries[1]])
    assert_same_diary(diaries[1], diaries[0])
    assert_same_state(ours, theirs)


def test_hooks_of_evaluate_and_predict():
    diaries = Diary(), Diary()
    for model, diary in zip(pair(), diaries, strict=True):
        model.evaluate(X, Y, 16, verbose=0, callbacks=[diary])
        model.predict(X, 16, verbose=0, callbacks=[diary])
    assert_same_diary(diaries[1], diaries[0])


def test_batch_hooks_do_not_change_what_is_learned():
    whole, stepped = (compiled(convnet(models.Sequential, dropout=0.5)) for _ in range(2))
    plain = seeded_fit(whole, X, Y, epochs=2)
    hooked = seeded_fit(stepped, X, Y, epochs=2, callbacks=[Diary()])
    assert hooked.history == plain.history
    for mine, other in zip(stepped.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_an_epoch_is_one_call_where_no_callback_hears_batches(tmp_path, monkeypatch):
    from convmill.runtime.program import Program

    calls = []
    train = Program.train

    def count(self, batches, *args, **kwargs):
        calls.append(len(batches.order))
        return train(self, batches, *args, **kwargs)

    monkeypatch.setattr(Program, "train", count)
    quiet = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.EarlyStopping("loss"),
        keras.callbacks.ProgbarLogger(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ]
    seeded_fit(compiled(convnet(models.Sequential)), X, Y, epochs=2, callbacks=quiet)
    assert calls == [48, 48]


@pytest.mark.parametrize(
    ("callback", "phase", "expected"),
    [
        (keras.callbacks.ModelCheckpoint("x.keras"), "train", False),
        (keras.callbacks.ModelCheckpoint("x.keras", save_freq=3), "train", True),
        (keras.callbacks.History(), "train", False),
        (keras.callbacks.ProgbarLogger(), "train", False),
        (keras.callbacks.TerminateOnNaN(), "train", True),
        (keras.callbacks.LambdaCallback(on_train_batch_end=print), "train", True),
        (keras.callbacks.LambdaCallback(on_train_batch_end=print), "test", False),
        (keras.callbacks.LambdaCallback(on_test_batch_begin=print), "test", True),
        (keras.callbacks.LambdaCallback(on_batch_end=print), "train", True),
        (keras.callbacks.LambdaCallback(on_epoch_end=print), "train", False),
    ],
)
def test_which_callbacks_hear_batches(callback, phase, expected):
    assert hears_batches([callback], phase) is expected


def test_early_stopping_stops_and_brings_the_best_weights_back():
    theirs, ours = (
        compiled(convnet(kind), keras.optimizers.SGD(5.0))
        for kind in (keras.Sequential, models.Sequential)
    )

    def stopping():
        return keras.callbacks.EarlyStopping(
            "val_loss", patience=1, restore_best_weights=True
        )

    arguments = {"validation_data": HELD_OUT, "epochs": 8}
    expected = seeded_fit(theirs, X, Y, callbacks=[stopping()], **arguments)
    found = seeded_fit(ours, X, Y, callbacks=[stopping()], **arguments)
    assert len(expected.epoch) < 8
    assert_same_history(found, expected, tolerance=1e-3)
    assert_same_state(ours, theirs, tolerance=1e-3)


def test_reduce_on_plateau_is_obeyed():
    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", 0.1, patience=0, min_delta=10.0)

    theirs, ours = pair()
    expected = seeded_fit(theirs, X, Y, epochs=3, callbacks=[plateau()])
    assert_same_history(seeded_fit(ours, X, Y, epochs=3, callbacks=[plateau()]), expected)
    assert "learning_rate" in expected.history
    assert_same_state(ours, theirs)


def test_terminate_on_nan_stops_at_the_batch_that_lost_it():
    y = Y.copy()
    y[20] = np.inf
    theirs, ours = pair(loss="mse")
    diaries = [Diary(["on_train_batch_end", "on_train_end"]) for _ in range(2)]
    for model, diary in zip((theirs, ours), diaries, strict=True):
        callbacks = [keras.callbacks.TerminateOnNaN(), diary]
        seeded_fit(model, X, y, epochs=3, shuffle=False, callbacks=callbacks)
    assert [entry[:2] for entry in diaries[1].entries] == [
        entry[:2] for entry in diaries[0].entries
    ]
    assert ours.optimizer.iterations.numpy() == 2


def test_csv_logger_writes_the_same_table(tmp_path):
    tables = []
    for name, model in zip(("theirs", "ours"), pair(), strict=True):
        path = tmp_path / f"{name}.csv"
        logger = keras.callbacks.CSVLogger(path)
        seeded_fit(model, X, Y, epochs=2, validation_data=HELD_OUT, callbacks=[logger])
        with open(path) as file:
            tables.append(list(csv.reader(file)))
    assert tables[0][0] == tables[1][0]
    np.testing.assert_allclose(
        np.array(tables[1][1:], float), np.array(tables[0][1:], float), atol=2e-5
    )


def test_checkpoints_within_an_epoch_hold_the_state_of_their_batch(tmp_path):
    paths = [tmp_path / f"{name}-{{batch}}.weights.h5" for name in ("theirs", "ours")]
    for path, model in zip(paths, pair(), strict=True):
        saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=2)
        seeded_fit(model, X, Y, callbacks=[saver])
    loaded = []
    for path in paths:
        model = compiled(convnet())
        model.optimizer.build(model.trainable_variables)
        model.load_weights(str(path).format(batch=2))
        loaded.append(model)
    assert_same_state(*loaded)
    assert loaded[0].optimizer.iterations.numpy() == 2


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end"])
def test_a_callback_may_change_weights_and_the_rate(hook):
    def meddler(model):
        def meddle(index, logs=None):
            model.jax_state_sync()  # plain Keras on JAX keeps the state elsewhere meanwhile
            model.layers[-1].bias.assign(model.layers[-1].bias.numpy() + 0.25)
            model.optimizer.learning_rate = 0.002

        return keras.callbacks.LambdaCallback(**{hook: meddle})

    theirs, ours = pair()
    expected = seeded_fit(theirs, X, Y, epochs=2, callbacks=[meddler(theirs)])
    found = seeded_fit(ours, X, Y, epochs=2, callbacks=[meddler(ours)])
    assert_same_history(found, expected)
    assert_same_state(ours, theirs)


def test_a_callback_may_stop_in_the_middle_of_an_epoch():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    theirs, ours = pair()
    diaries = Diary(["on_epoch_end", "on_train_end"]), Diary(["on_epoch_end", "on_train_end"])
    seeded_fit(theirs, X, Y, epochs=3, callbacks=[Stop(), diaries[0]])
    seeded_fit(ours, X, Y, epochs=3, callbacks=[Stop(), diaries[1]])
    assert_same_diary(diaries[1], diaries[0])
    assert_same_state(ours, theirs)
    assert ours.optimizer.iterations.numpy() == 2


def test_a_callback_may_freeze_a_layer_between_epochs():
    class Freeze(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].trainable = False
            self.kept = self.model.layers[0].get_weights()

    freeze = Freeze()
    model = compiled(convnet(models.Sequential))
    seeded_fit(model, X, Y, epochs=2, callbacks=[freeze])
    for before, after in zip(freeze.kept, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_callback_may_evaluate_and_predict():
    class Look(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(self.model.evaluate(X, Y, verbose=0, return_dict=True)["loss"])

    look = Look()
    watched, alone = (compiled(convnet(models.Sequential)) for _ in range(2))
    seeded_fit(watched, X, Y, callbacks=[look])
    seeded_fit(alone, X, Y)
    for mine, other in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert look.seen[-1] == alone.evaluate(X, Y, verbose=0, return_dict=True)["loss"]


def test_backup_and_restore_goes_on_with_the_epoch_that_failed(tmp_path):
    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    model = compiled(convnet(models.Sequential))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power cut"):
        seeded_fit(model, X, Y, epochs=4, callbacks=[backup, Fail()])
    again = compiled(convnet(models.Sequential))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    assert seeded_fit(again, X, Y, epochs=4, callbacks=[backup]).epoch == [2, 3]
    assert again.optimizer.iterations.numpy() == 12


def test_a_list_of_callbacks_made_by_the_user_is_taken_as_it_is():
    model = compiled(convnet(models.Sequential))
    history, diary = keras.callbacks.History(), Diary(["on_epoch_end"])
    listed = keras.callbacks.CallbackList([history, diary], model=model)
    assert seeded_fit(model, X, Y, callbacks=listed) is history
    assert len(diary.entries) == 1
