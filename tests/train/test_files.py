"""Files of models are written whole or not at all, and read whole or not at all, by every door."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import convmill
from convmill import models, saving
from convmill.train.doors import install

X, Y = np.ones((8, 6, 6, 1), np.float32), np.ones((8, 4), np.float32)
NAMES = ("net.keras", "net.weights.h5", "net.h5")


def net(make=models.Sequential, units=40):
    stack = [keras.Input((6, 6, 1)), layers.Conv2D(units, 3), layers.Flatten(), layers.Dense(4)]
    model = make(stack)
    model.compile("adam", "mse")
    return model


def accelerated():
    return convmill.accelerate(net(keras.Sequential))


class Own(models.Sequential):
    """A class derived from a door."""


def installed():
    install()
    return net(keras.Sequential)


DOORS = {"door": net, "accelerate": accelerated, "derived": lambda: net(Own), "script": installed}


def write(model, path):
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


@contextlib.contextmanager
def full_disk():
    """No file grows beyond 20,000 bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_old_file(door, name, tmp_path):
    path = tmp_path / name
    model = DOORS[door]()
    write(model, path)
    old = path.read_bytes()
    assert len(old) > 20_000
    with (
        full_disk(),
        pytest.raises(OSError, match=r"could not be written: File too large. The fil"),
    ):
        write(model, path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == [name]


def test_a_full_disk_leaves_the_old_file_of_functions_and_callbacks(tmp_path):
    path = tmp_path / "net.keras"
    path.write_bytes(b"old")
    model = net()
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    with full_disk():
        for save in (models.save_model, saving.save_model):
            with pytest.raises(OSError, match="The file that was there is as it was"):
                save(model, path)
        with pytest.raises(OSError, match="The file that was there is as it was"):
            model.fit(X, Y, verbose=0, callbacks=[checkpoint])
        install()
        with pytest.raises(OSError, match="The file that was there is as it was"):
            keras.models.save_model(net(keras.Sequential), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net.keras"]


@pytest.mark.parametrize("name", NAMES)
def test_keras_reads_what_is_written(name, tmp_path):
    path = tmp_path / name
    model = net()
    model.fit(X, Y, verbose=0)
    write(model, path)
    if name.endswith(".weights.h5"):
        other = net(keras.Sequential)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(path)
    else:
        other = keras.saving.load_model(path, compile=name.endswith(".keras"))
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if not name.endswith(".h5"):
        assert int(other.optimizer.iterations) == 1


def test_what_is_no_file_here_is_left_to_keras(tmp_path):
    model = net()
    with pytest.raises(ValueError, match="Invalid filepath extension"):
        model.save(tmp_path / "net.other")
    with pytest.raises(ValueError, match=r"must end in `.weights.h5`"):
        model.save_weights(tmp_path / "net.h5")
    model.save(tmp_path / "folder", zipped=False)
    assert "config.json" in os.listdir(tmp_path / "folder")
    with pytest.raises(OSError, match="could not be written"):
        model.save(tmp_path / "missing" / "net.keras")


# Reading ------------------------------------------------------------------------------------------


def flip(content, place):
    changed = bytearray(content)
    changed[place] ^= 4
    return bytes(changed)


def with_members(content, members):
    """An archive with other contents of some members; None takes one away."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        every = {name: old.read(name) for name in old.namelist()} | members
        for name, text in every.items():
            if text is not None:
                new.writestr(name, text)
    return made.getvalue()


def one_bad(content):
    """One data set has another shape."""
    made = io.BytesIO(content)
    with h5py.File(made, "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.zeros((3, 3), np.float32)
    return made.getvalue()


def member(content, name):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


CONFIG, STATE = "config.json", "model.weights.h5"


ARCHIVES = {
    "empty": (lambda found: b"", "is empty"),
    "cut": (lambda found: found[:-100], "cut short"),
    "cut early": (lambda found: found[:1000], "cut short"),
    "text": (lambda found: b"a text, and no model", "no such archive, or cut short"),
    "no config": (lambda found: with_members(found, {CONFIG: None}), r"no config\.json"),
    "bad JSON": (lambda found: with_members(found, {CONFIG: "{"}), "is no JSON"),
    "another JSON": (lambda found: with_members(found, {CONFIG: "[1]"}), "tells no model"),
    "no weights": (lambda found: with_members(found, {STATE: None}), r"model\.weights\.h5"),
    "a flipped bit": (lambda found: flip(found, len(found) // 2), "is damaged, at its member"),
    "one bad data set": (
        lambda found: with_members(found, {STATE: one_bad(member(found, STATE))}),
        "cannot load",
    ),
}


@pytest.mark.parametrize("damage", ARCHIVES)
def test_a_damaged_model_is_one_clear_error(damage, tmp_path):
    path = tmp_path / "net.keras"
    model = net()
    model.save(path)
    change, words = ARCHIVES[damage]
    path.write_bytes(change(path.read_bytes()))
    for load in (models.load_model, saving.load_model):
        with pytest.raises(ValueError, match=words) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    before = model.get_weights()
    with pytest.raises(ValueError, match="The model is as it was"):
        model.load_weights(path)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


WEIGHTS = {
    "empty": (lambda found: b"", "is empty"),
    "cut": (lambda found: found[:-1000], "cannot be read"),
    "text": (lambda found: b"a text, and no weights", "cannot be read"),
    "a flipped bit": (lambda found: flip(found, len(found) // 2), "its checksum is another"),
    "lost at its end": (lambda found: found[:-88] + found[-72:], "its checksum is another"),
    "one bad data set": (one_bad, "cannot load these weights"),
}


@pytest.mark.parametrize("door", ["door", "script"])
@pytest.mark.parametrize("damage", WEIGHTS)
def test_damaged_weights_leave_the_model_as_it_was(damage, door, tmp_path):
    path = tmp_path / "net.weights.h5"
    model = DOORS[door]()
    model.fit(X, Y, verbose=0)
    model.save_weights(path)
    change, words = WEIGHTS[damage]
    path.write_bytes(change(path.read_bytes()))
    other = DOORS[door]()
    before = [one.numpy() for one in (*other.variables, *other.optimizer.variables)]
    with pytest.raises((ValueError, OSError), match=f"{words}.*The model is as it was") as caught:
        other.load_weights(path)
    assert "Errno" not in str(caught.value)
    after = [one.numpy() for one in (*other.variables, *other.optimizer.variables)]
    for mine, old in zip(after[: len(before)], before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_the_weights_of_another_architecture(tmp_path):
    path = tmp_path / "net.weights.h5"
    net(units=8).save_weights(path)
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError, match="The model is as it was"):
        model.load_weights(path)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot be read: No such file"):
        models.load_model(tmp_path / "net.keras")
    with pytest.raises(FileNotFoundError, match="cannot be read: No such file"):
        net().load_weights(tmp_path / "net.weights.h5")


def test_a_file_of_a_newer_keras_says_so(tmp_path):
    path = tmp_path / "net.keras"
    net().save(path)
    content = path.read_bytes()
    metadata = json.loads(member(content, "metadata.json")) | {"keras_version": "99.1.0"}
    config = member(content, CONFIG).replace(b'"Conv2D"', b'"Conv9D"')
    changed = {"metadata.json": json.dumps(metadata), CONFIG: config}
    path.write_bytes(with_members(content, changed))
    with pytest.raises(ValueError, match=r"written by Keras 99\.1\.0; this is Keras"):
        models.load_model(path)
