"""Under the third door ``keras.datasets.mnist`` looks where ``convmill.datasets`` does."""

from __future__ import annotations

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

import convmill
from convmill.data import DataError
from convmill.imports import install_with_keras, uninstall_with_keras

NAMES = ("mnist", "fashion_mnist")
ORIGINALS = {name: getattr(keras.datasets, name).load_data for name in NAMES}


@pytest.fixture(params=NAMES)
def name(request, register, tiny, cache, monkeypatch):
    """A name of Keras' data sets, under which the tiny one is known here."""
    register(replace(tiny.known, name=request.param, cache_folder=request.param))
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    yield request.param
    uninstall_with_keras()


@pytest.fixture
def load(name):
    install_with_keras()
    return getattr(keras.datasets, name).load_data


def assert_tiny(found, tiny):
    (x_train, y_train), (x_test, y_test) = found
    for mine, other in zip((x_train, y_train, x_test, y_test), tiny.arrays, strict=True):
        assert type(mine) is np.ndarray
        assert mine.dtype == np.uint8
        assert mine.flags.writeable
        np.testing.assert_array_equal(mine, other)


def test_in_the_user_s_folder(load, name, tiny, tmp_path, monkeypatch):
    tiny.write(tmp_path / "sets" / name)
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "sets"))
    assert_tiny(load(), tiny)


def test_in_the_cache(load, name, tiny, cache):
    tiny.write(cache / name)
    assert_tiny(load(), tiny)


def test_a_path_is_a_place_in_the_cache(tiny, cache, name, load, tmp_path, monkeypatch):
    if name != "mnist":
        with pytest.raises(TypeError):
            load("tiny.npz")
        return
    cache.mkdir(parents=True)
    (cache / "mine.npz").write_bytes(tiny.npz)
    (tmp_path / "far.npz").write_bytes(tiny.npz)
    (cache / "wrong.npz").write_bytes(b"wrong")
    assert_tiny(load("mine.npz"), tiny)
    assert_tiny(load(path="mine.npz"), tiny)
    assert_tiny(load(path=str(tmp_path / "far.npz")), tiny)
    with pytest.raises(DataError, match=r"wrong\.npz"):
        load("wrong.npz")
    with pytest.raises(DataError, match="not to be had"):
        load("not_yet.npz")
    tiny.write(tmp_path / "sets" / name)
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "sets"))
    assert_tiny(load("not_yet.npz"), tiny)
    (cache / "mnist.npz").write_bytes(b"not looked at, for the user's own folder is before it")
    assert_tiny(load("mnist.npz"), tiny)


def test_nowhere(load):
    with pytest.raises(DataError, match="not to be had"):
        load()


def test_install_and_uninstall(name):
    original = ORIGINALS[name]
    convmill.load_ipython_extension(None)
    convmill.load_ipython_extension(None)
    module = getattr(keras.datasets, name)
    ours = module.load_data
    assert ours is not original
    assert ours.__doc__ == original.__doc__
    # TensorFlow's keras is imported on demand, from where the functions are written.
    other = __import__(f"keras._tf_keras.keras.datasets.{name}", fromlist=["load_data"])
    assert other.load_data is sys.modules[original.__module__].load_data is not original
    convmill.unload_ipython_extension(None)
    assert module.load_data is other.load_data is original


def test_other_data_sets_are_left_alone(load):
    assert not hasattr(keras.datasets.california_housing.load_data, "keras_load_data")
