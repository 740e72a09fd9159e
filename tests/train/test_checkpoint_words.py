"""What goes wrong with checkpoints is said in one clear error, or passed over with a word."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import zipfile
from collections import Counter, OrderedDict, defaultdict

import keras
import numpy as np
import pytest

from convmill import models
from convmill.callbacks import Checkpoint, StopOnNaN
from convmill.train.checkpoint import archive, tree
from convmill.train.checkpoint.data import _checksum
from convmill.train.guard import Finding
from tests.train.nets import compiled, convnet, images

X, Y = images(32)


def net(optimizer="adam"):
    return compiled(convnet(models.Sequential), optimizer)


def fit(model, folder, **options):
    keras.utils.set_random_seed(5)
    every, keep = options.pop("every", "1 steps"), options.pop("keep", 2)
    callbacks = [*options.pop("callbacks", ()), Checkpoint(folder, every=every, keep=keep)]
    options = {"batch_size": 8, "epochs": 2, "verbose": 0, "callbacks": callbacks} | options
    return model.fit(options.pop("x", X), options.pop("y", Y), **options)


def names(folder):
    return sorted(name for name in os.listdir(folder) if name != "lock")


@pytest.mark.parametrize("every", ["0s", "60", "-1 steps", "0 steps", "1.5 steps", 60, None, ""])
def test_how_often_makes_no_sense(every):
    with pytest.raises(ValueError, match=r"every must be a time or a number of steps.*Received"):
        Checkpoint("folder", every=every)


@pytest.mark.parametrize("keep", [0, -1, 1.5, True])
def test_how_many_makes_no_sense(keep):
    with pytest.raises(ValueError, match=r"keep must be a whole number"):
        Checkpoint("folder", keep=keep)


def test_the_last_ones_stay(tmp_path):
    fit(net(), tmp_path, keep=3)
    assert names(tmp_path) == [f"checkpoint-{number:08}.zip" for number in (7, 8, 9)]


def test_nothing_in_a_checkpoint_is_code(tmp_path):
    fit(net(), tmp_path, keep=1)
    with zipfile.ZipFile(tmp_path / names(tmp_path)[0]) as found:
        members = found.namelist()
        arrays = set(members) - {"state.json"}
        assert arrays == {f"{number}.npy" for number in range(len(arrays))}
        for name in arrays:
            with found.open(name) as member:
                np.lib.format.read_array(member, allow_pickle=False)


def flip(content, place):
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-10],
    "one bit": lambda content: flip(content, len(content) // 2),
    "its checksum": lambda content: flip(content, len(content) - 1),
    "text": lambda content: b"this is a text" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_one_is_passed_over(tmp_path, damage):
    expected = fit(net(), tmp_path / "whole").history
    fit(net(), tmp_path / "run", epochs=1)
    newest = tmp_path / "run" / names(tmp_path / "run")[-1]
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{newest.name} cannot be used.*The one before"):
        found = fit(net(), tmp_path / "run").history
    assert list(found) == list(expected)
    assert newest.name not in names(tmp_path / "run")


def test_where_all_are_damaged_nothing_begins_anew(tmp_path):
    fit(net(), tmp_path, epochs=1)
    for name in names(tmp_path):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be used.*another folder"):
        fit(net(), tmp_path)


def paths(content, above=()):
    """The ways to all that stands under a name."""
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*above, key)
        yield from paths(value, (*above, key))


def without(content, path):
    """A copy of what is in a checkpoint, with something left out."""
    key, *rest = path
    inner = {key: without(content[key], rest)} if rest else {}
    return {name: value for name, value in content.items() if name != key} | inner


def why_not(model, folder):
    """Why a training cannot be gone on with; nothing where it can."""
    try:
        fit(model, folder)
    except ValueError as error:
        return str(error)
    return ""


def test_a_whole_checkpoint_in_which_something_is_missing(tmp_path):
    """Its checksum is right: somebody else has made it. The model is as it was."""
    fit(net(), tmp_path, keep=10)
    path = tmp_path / names(tmp_path)[1]  # in the midst of an epoch
    content = archive.read(path)
    refused = 0
    for missing in paths(content):
        for name in names(tmp_path):
            (tmp_path / name).unlink()
        archive.write(path, without(content, missing))
        model = net()
        before = [one.numpy() for one in model.variables]
        error = why_not(model, tmp_path)
        if error:
            assert "heckpoint" in error
            refused += 1
            for one, value in zip(model.variables, before, strict=True):
                np.testing.assert_array_equal(one.numpy(), value)
    assert refused > 15


def test_what_others_have_made_is_none(tmp_path):
    path = tmp_path / "checkpoint-00000001.zip"
    archive.write(path, {"a": [1, (2.5, None)], "b": np.arange(3), 4: {5, 6}})
    found = archive.read(path)
    np.testing.assert_array_equal(found.pop("b"), np.arange(3))
    assert found == {"a": [1, (2.5, None)], 4: {5, 6}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("state.json", b"0" * 10_000_000)
        bomb.comment = b"0" * 64
    content = path.read_bytes()
    path.write_bytes(content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode())
    with pytest.raises(archive.Damaged, match=r"compressed"):
        archive.read(path)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"batch_size": 4}, "batch_size was 8. Received: 4"),
        ({"x": X[:24], "y": Y[:24]}, "images was 32. Received: 24"),
        ({"x": X[::-1]}, "the checksum of x, y and sample_weight was"),
        ({"y": Y[::-1]}, "the checksum of x, y and sample_weight was"),
        ({"sample_weight": np.full(32, 0.5)}, "the checksum of x, y and sample_weight was"),
        ({"validation_data": (X, Y)}, "the checksum of validation data was None"),
        ({"shuffle": False}, "shuffle was True. Received: False"),
        ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, "callbacks was"),
    ],
)
def test_another_run_is_not_gone_on_with(tmp_path, options, what):
    fit(net(), tmp_path, epochs=1)
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"is of another run: {what}.*another folder"):
        fit(model, tmp_path, **options)
    for mine, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_another_model_or_optimizer_is_not_gone_on_with(tmp_path):
    fit(net(), tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r"optimizer was 'Adam'. Received: 'SGD'"):
        fit(net("sgd"), tmp_path)
    other = models.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    other.compile("adam", "mse", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"weights was"):
        fit(other, tmp_path)


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    class Another(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match=r"another run writes.*Received"):
                fit(net(), tmp_path)

    fit(net(), tmp_path, callbacks=[Another()])
    assert len(names(tmp_path)) == 2


def test_a_run_that_has_ended_is_not_taken_for_the_next(tmp_path):
    model = net()
    fit(model, tmp_path)
    with pytest.raises(ValueError, match=r"has ended. Give the next one a folder of its own"):
        fit(model, tmp_path)


class Moving(keras.utils.PyDataset):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(1)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[:8] + self.random.random(), Y[:8]


def endless():
    while True:
        yield X[:8], Y[:8]


REFUSED = {
    "a generator": {"x": endless(), "y": None, "batch_size": None, "steps_per_epoch": 2},
    "Moving, which changes": {"x": Moving(), "y": None, "batch_size": None},
    "arrays with steps_per_epoch": {"steps_per_epoch": 2},
    "validation data of type Moving": {"validation_data": Moving()},
    "validation data of type generator": {"validation_data": endless(), "validation_steps": 2},
}


@pytest.mark.parametrize("received", REFUSED)
def test_data_that_cannot_be_wound_back(tmp_path, received):
    options = REFUSED[received] | {"shuffle": False}
    with pytest.raises(ValueError, match=rf"Checkpoint goes on in the midst.*Received: {received}"):
        fit(net(), tmp_path, **options)


@pytest.mark.filterwarnings("ignore:convmill")
def test_what_keras_trains_has_no_checkpoints(tmp_path):
    plain = compiled(convnet())
    with pytest.raises(ValueError, match=r"Keras trains this model. Use keras.*BackupAndRestore"):
        fit(plain, tmp_path)
    model = net()
    model.run_eagerly = True
    with pytest.raises(ValueError, match=r"Keras trains this model"):
        fit(model, tmp_path)


def test_a_full_disk_is_a_warning_and_training_goes_on(tmp_path, monkeypatch):
    expected = fit(net(), tmp_path / "whole").history

    def full(path, content):
        raise OSError(errno.ENOSPC, f"{path} could not be written: {os.strerror(errno.ENOSPC)}.")

    monkeypatch.setattr(archive, "write", full)
    with pytest.warns(RuntimeWarning, match=r"could not be written: .*No space left"):
        assert fit(net(), tmp_path / "run").history == expected
    assert names(tmp_path / "run") == []


class Foreign(keras.callbacks.Callback):
    """Holds what no checkpoint can."""

    def __init__(self):
        super().__init__()
        self.held = object()


def test_what_a_callback_holds_and_a_checkpoint_cannot_is_said(tmp_path):
    with pytest.warns(
        UserWarning, match=r"do not hold the attribute 'held' of the callback Foreign"
    ):
        fit(net(), tmp_path, callbacks=[Foreign()])


class Telling(Foreign):
    """Tells its state itself."""

    count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_a_callback_may_tell_its_state(tmp_path):
    fit(net(), tmp_path, callbacks=[Telling()])
    again = Telling()
    fit(net(), tmp_path, callbacks=[again], epochs=3)
    assert again.count == 3


# Signals ------------------------------------------------------------------------------------------


class Signalling(keras.callbacks.Callback):
    """Sends this process a signal when it hears of something for the second time."""

    def __init__(self, hook, sends=True):
        super().__init__()
        self.times = 0

        def heard(*_, **__):
            self.times += 1
            if self.times == 2 and sends:
                signal.raise_signal(signal.SIGINT)

        vars(self)[hook] = heard


HOOKS = ("on_train_batch_end", "on_epoch_begin", "on_test_begin", "on_test_batch_end")


@pytest.mark.parametrize("hook", [*HOOKS, "on_epoch_end", "on_train_batch_begin"])
def test_ctrl_c_writes_a_last_checkpoint(tmp_path, hook):
    held_out = {"validation_data": (X[:8], Y[:8]), "every": "1h", "epochs": 3}
    expected_model = net()
    expected = fit(
        expected_model, tmp_path / "whole", callbacks=[Signalling(hook, sends=False)], **held_out
    ).history
    with pytest.raises(KeyboardInterrupt):
        fit(net(), tmp_path / "run", callbacks=[Signalling(hook)], **held_out)
    assert len(names(tmp_path / "run")) == 1
    model = net()
    found = fit(
        model, tmp_path / "run", callbacks=[Signalling(hook, sends=False)], **held_out
    ).history
    assert found == expected
    for mine, other in zip(model.get_weights(), expected_model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("place", [0, -1])
def test_large_arrays_are_told_from_others_by_a_part(place):
    zeros = np.zeros((1000, 100, 100), np.float32)
    ones = zeros.copy()
    ones[place] = 1
    assert _checksum(zeros) == _checksum(zeros[:, ::-1]) != _checksum(ones)
    assert _checksum(zeros) != _checksum(zeros.reshape(1000, 10000))


@pytest.mark.parametrize(
    "value",
    [
        Counter("abca"),
        OrderedDict(b=1, a=[2]),
        defaultdict(list, {3: [4]}),
        defaultdict(None, {"a": Counter()}),
        {"a": defaultdict(float)},
    ],
)
def test_dicts_that_do_more_come_back_as_they_were(value):
    found = tree.unpack(tree.pack(value, []), [])
    assert found == value
    assert repr(found) == repr(value)


class Own(dict):
    pass


@pytest.mark.parametrize("value", [Own(a=1), defaultdict(lambda: 3), defaultdict(Own)])
def test_other_dicts_are_told_of(value):
    with pytest.raises(tree.NotPlain):
        tree.pack([value], [])


def test_a_guard_is_nothing_to_warn_of(tmp_path):
    fit(net(), tmp_path, callbacks=[StopOnNaN()], epochs=1)
    guard = StopOnNaN()
    guard.found = Finding(1, 2, None, "the loss")
    other = StopOnNaN()
    other.load_state_dict(guard.state_dict())
    assert other.found == guard.found
    fit(net(), tmp_path, callbacks=[other], epochs=2)
    assert other.found is None


def test_a_finding_is_not_gone_on_with(tmp_path):
    """The checkpoints before it lead to it again."""
    x = X.copy()
    x[20] = 3e38
    for _ in range(2):
        guard = StopOnNaN("restore")
        history = fit(net(), tmp_path, x=x, shuffle=False, callbacks=[guard], keep=9, epochs=1)
        assert (guard.found.epoch, guard.found.step) == (1, 3)
        assert history.epoch == [0]
        for name in names(tmp_path)[2:]:
            (tmp_path / name).unlink()
