"""CIFAR's data sets: pickles read without running them, in every form in which they lie about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.datasets.cifar import load_batch

from convmill import datasets
from convmill.data import DataError, check, fetch, load_named
from convmill.data.cifar import read_batch, read_tar
from convmill.data.files import Mirror
from convmill.data.known import CIFAR10, CIFAR100
from convmill.imports import install_with_keras, uninstall_with_keras
from tests.data.tiny import sends
from tests.data.tiny_cifar import (
    ARCHIVE,
    COUNT,
    FOLDER,
    TinyCifar,
    array,
    batch_pickle,
    labels_pickled,
    tar_of,
)


@pytest.fixture
def tiny_cifar(register, cache, monkeypatch):
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    made = TinyCifar()
    register(made.known)
    return made


def assert_whole(data, made):
    np.testing.assert_array_equal(data.x_train, np.concatenate(made.images[:2]))
    np.testing.assert_array_equal(data.x_test, made.images[2])
    assert data.y_train.tolist() == made.labels[0] + made.labels[1]
    assert data.y_test.tolist() == made.labels[2]
    assert data.x_train.dtype == data.y_train.dtype == np.uint8
    assert data.x_train.flags.c_contiguous
    assert data.x_test.flags.writeable


def test_the_sets():
    assert CIFAR10.shapes == ((50_000, 32, 32, 3), (50_000,), (10_000, 32, 32, 3), (10_000,))
    assert CIFAR100.shapes == CIFAR10.shapes
    assert len(set(CIFAR100.class_names)) == 100
    assert list(CIFAR100.class_names) == sorted(CIFAR100.class_names)
    assert CIFAR100.coarse is not None
    assert len(set(CIFAR100.coarse.class_names)) == 20


def test_as_keras_reads_a_batch(tiny_cifar, tmp_path):
    folder = tiny_cifar.write(tmp_path / "loose")
    for file in tiny_cifar.known.files:
        images, labels = read_batch(folder / file.name, file)
        planes, wanted = load_batch(str(folder / file.name))
        np.testing.assert_array_equal(images, planes.transpose(0, 2, 3, 1))
        assert labels.tolist() == wanted


@pytest.mark.parametrize("place", ["archive", "folder of it", "unpacked", "batches"])
def test_places_within_the_user_s_folder(tiny_cifar, tmp_path, monkeypatch, place):
    own = tmp_path / "own" / "tiny"
    if place == "archive":
        given = tiny_cifar.write_archive(tmp_path / "renamed.tgz")
    elif place == "folder of it":
        given = tiny_cifar.write_archive(own / ARCHIVE).parent
    else:
        tiny_cifar.write(own / FOLDER if place == "unpacked" else own)
        given = own
    assert_whole(load_named("tiny", given), tiny_cifar)
    if place != "archive":
        monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "own"))
        assert_whole(load_named("tiny"), tiny_cifar)
        assert check("tiny").ok


def test_what_keras_has_unpacked_in_its_cache(tiny_cifar, cache):
    tiny_cifar.write(cache / "tiny-target" / FOLDER)
    assert_whole(load_named("tiny"), tiny_cifar)


def test_a_tar_file_that_is_not_packed(tiny_cifar, tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(tiny_cifar.batches, "w"))
    assert_whole(load_named("tiny", tmp_path / "x.tar"), tiny_cifar)


def test_download(server, register, cache):
    made = TinyCifar(Mirror(f"{server.url}tar/", "archive"))
    server.answers[f"/tar/{ARCHIVE}"] = sends(made.archive)
    register(made.known)
    assert not check("tiny").ok
    assert fetch("tiny") == str(cache / ARCHIVE)
    assert check("tiny").ok
    assert_whole(load_named("tiny"), made)
    assert len(server.seen) == 1


def test_nowhere(tiny_cifar, cache):
    with pytest.raises(DataError) as caught:
        load_named("tiny")
    archive = tiny_cifar.known.archive
    assert f"  {ARCHIVE}  sha256 {archive.sha256}\nand put it\n" in str(caught.value)
    assert f"or into {cache}" in str(caught.value)


def test_nothing_at_the_path_that_was_given(tiny_cifar):
    with pytest.raises(DataError, match=f"test_batch, or a file like {ARCHIVE}"):
        load_named("tiny", "no/such/place")


WRONG = {
    "not a tar file": (lambda made: b"hello", "damaged, or no tar file"),
    "cut short": (lambda made: made.archive[:-300], "damaged, or no tar file"),
    "a batch missing": (
        lambda made: tar_of({"data_batch_1": made.batches["data_batch_1"]}),
        "data_batch_2, test_batch is missing in it",
    ),
    "another batch": (
        lambda made: tar_of({**made.batches, "test_batch": made.batches["data_batch_1"]}),
        r"test_batch: wrong sha256 \(file\)",
    ),
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_wrong_archives_are_named(tiny_cifar, tmp_path, monkeypatch, kind):
    make, complaint = WRONG[kind]
    path = tmp_path / "own" / "tiny" / ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(make(tiny_cifar))
    with pytest.raises(DataError, match=complaint) as caught:
        load_named("tiny", path)
    assert str(caught.value).startswith(f"{path}: ")
    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path / "own"))
    assert [file.state for file in check("tiny").files] == ["wrong"]


ROWS = array(np.zeros((COUNT, 3072), dtype=np.uint8))
LABELS = labels_pickled([0] * COUNT)
CALLS = b"cos\nsystem\n(S'touch called'\ntR"
EVIL = {
    "a function to call": (batch_pickle(data=CALLS, labels=LABELS), "os.system, which is never"),
    "a builtin": (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval, which is never"),
    "NumPy's own": (b"cnumpy\nfromfile\n(S'x'\ntR.", "numpy.fromfile, which is never"),
    "another shape": (
        batch_pickle(data=array(np.zeros((COUNT, 7), dtype=np.uint8)), labels=LABELS),
        r"Received: \(6, 7\)",
    ),
    "no array": (batch_pickle(data=LABELS, labels=LABELS), "cannot be unpickled"),
    "too few labels": (batch_pickle(data=ROWS, labels=labels_pickled([1])), "6 whole numbers"),
    "labels out of range": (
        batch_pickle(data=ROWS, labels=labels_pickled([0] * 5 + [-1])),
        "6 whole numbers",
    ),
    "nothing": (b"", "cannot be unpickled"),
}


@pytest.mark.parametrize("kind", list(EVIL))
def test_a_pickle_runs_nothing(tiny_cifar, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    content, complaint = EVIL[kind]
    (tmp_path / "batch").write_bytes(content)
    file = replace(tiny_cifar.known.files[0], sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match=complaint):
        read_batch(tmp_path / "batch", file)
    (tmp_path / "all.tar").write_bytes(tar_of({file.name: content}))
    with pytest.raises(DataError, match=complaint):
        read_tar(tmp_path / "all.tar", [file])
    assert not Path("called").exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_as_keras_gives_them(name, register, cache, monkeypatch):
    """The third door too, and the order of axes that Keras is set to."""
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    made = TinyCifar(name=name)
    register(made.known)
    made.write(cache / "tiny-target")
    (x_train, y_train), (x_test, y_test) = getattr(datasets, name).load_data()
    np.testing.assert_array_equal(x_train, np.concatenate(made.images[:2]))
    assert y_train[:, 0].tolist() == made.labels[0] + made.labels[1]
    assert (y_train.shape, y_test.shape) == ((2 * COUNT, 1), (COUNT, 1))
    assert y_train.dtype == y_test.dtype == (np.uint8 if name == "cifar10" else np.int64)
    install_with_keras()
    try:
        theirs = getattr(keras.datasets, name).load_data
        np.testing.assert_array_equal(theirs()[1][0], x_test)
        monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
        np.testing.assert_array_equal(theirs()[0][0], x_train.transpose(0, 3, 1, 2))
        if name == "cifar100":
            assert theirs("coarse")[1][1][:, 0].tolist() == made.groups[2]
            with pytest.raises(ValueError, match="label_mode='medium'"):
                theirs(label_mode="medium")
    finally:
        uninstall_with_keras()


def test_trained_on_by_name(register, cache, monkeypatch, tmp_path, capsys):
    from convmill.cli import main

    monkeypatch.setenv("CONVMILL_DATA", str(tmp_path))
    made = TinyCifar(name="cifar10")
    register(made.known)
    made.write_archive(tmp_path / "cifar10" / ARCHIVE)
    main(["train", "--data", "cifar10", "--epochs", "1", "--threads", "1"])
    assert "Data: cifar10, 12 images to learn from and 6 to test on, 32x32x3" in (
        capsys.readouterr().out
    )
