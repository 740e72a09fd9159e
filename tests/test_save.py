"""save_model: the whole file or the old one."""

from __future__ import annotations

import errno
import os
import stat
import zipfile

import keras
import numpy as np
import pytest

from convmill.train.save import check_destination, save_model


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mean_squared_error")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


def test_keras_loads_it_with_its_optimizer(model, tmp_path):
    path = tmp_path / "model.keras"
    save_model(model, path, {"note.txt": b"passed over"})
    loaded = keras.saving.load_model(path)
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 1
    with zipfile.ZipFile(path) as archive:
        assert archive.read("note.txt") == b"passed over"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_it_replaces_the_old_file_and_keeps_its_mode(model, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")
    path.chmod(0o640)
    save_model(model, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    keras.saving.load_model(path)


def test_a_link_stays_a_link(model, tmp_path):
    real = tmp_path / "real.keras"
    real.write_bytes(b"old")
    link = tmp_path / "link.keras"
    link.symlink_to(real)
    save_model(model, link)
    assert link.is_symlink()
    keras.saving.load_model(real)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(model, tmp_path, monkeypatch, step):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"No space left on device\. The file that was there"):
        save_model(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_failure_with_no_old_file_leaves_nothing(model, tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(model, tmp_path / "model.keras")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("model.h5", ValueError),
        ("model", ValueError),
        ("folder.keras", IsADirectoryError),
        ("missing/model.keras", FileNotFoundError),
    ],
)
def test_places_that_take_no_model(tmp_path, name, error):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(error, match=name.split("/")[0]):
        check_destination(tmp_path / name)
