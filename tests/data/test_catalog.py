"""Names, the catalogue, MNIST itself, and the fall-back of the demo."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import convmill.data
from convmill import datasets
from convmill.data import DataError, catalog, check, fetch, load, load_mnist_or_digits
from convmill.data.files import BatchFile
from convmill.data.known import FASHION_MNIST, KNOWN_SETS, MNIST

needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("CONVMILL_DATA", "/nowhere")) / "mnist").is_dir(),
    reason="needs MNIST: set CONVMILL_DATA to a folder that holds mnist/ with the four IDX files",
)


def test_catalogue(cache: Path) -> None:
    entries = {entry.name: entry for entry in catalog()}
    sizes = {e.name: (e.train, e.test, e.image_shape, e.classes) for e in entries.values()}
    assert sizes == {
        "mnist": (60_000, 10_000, (28, 28), 10),
        "fashion_mnist": (60_000, 10_000, (28, 28), 10),
        "cifar10": (50_000, 10_000, (32, 32, 3), 10),
        "cifar100": (50_000, 10_000, (32, 32, 3), 100),
        "digits": (1437, 360, (28, 28), 10),
    }
    assert [name for name, entry in entries.items() if entry.found] == ["digits"]
    digits = load("digits")
    assert (len(digits.x_train), len(digits.x_test)) == (1437, 360)


@needs_mnist
def test_catalogue_finds_mnist() -> None:
    found = next(entry for entry in catalog() if entry.name == "mnist")
    assert found.found
    assert found.where == str(Path(os.environ["CONVMILL_DATA"]) / "mnist")


def test_table_is_whole() -> None:
    for known in KNOWN_SETS.values():
        hashes = [
            file.sha256 if isinstance(file, BatchFile) else file.content_sha256 or file.gz_sha256
            for file in known.files
        ]
        assert all(each is not None and len(each) == 64 for each in hashes)
        assert len(set(hashes)) == len(known.files)
        assert len(known.class_names) == (100 if known.name == "cifar100" else 10)
        assert all(mirror.url.endswith("/") for mirror in known.mirrors)
        assert len(known.mirrors) >= 3
    assert MNIST.archive is not None
    assert FASHION_MNIST.archive is None


@pytest.mark.parametrize(
    ("name", "nearest"), [("mnits", "mnist"), ("fashion", "fashion_mnist"), ("digit", "digits")]
)
def test_unknown_name_names_the_nearest(cache: Path, name: str, nearest: str) -> None:
    for call in (load, fetch, check):
        with pytest.raises(DataError, match=f"Received: '{name}'.\nDid you mean {nearest}?"):
            call(name)


def test_unknown_name_far_from_all(cache: Path) -> None:
    with pytest.raises(DataError, match="The names are: mnist, fashion_mnist, cifar10, "):
        load("cats")
    with pytest.raises(DataError, match="no data at this path"):
        load("cats/and/dogs")


def test_digits_are_always_right() -> None:
    report = check("digits")
    assert report.ok
    assert fetch("digits") == report.where


def test_falls_back_to_digits_and_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    data, text = load_mnist_or_digits()
    assert data.name == "digits"
    assert text is not None
    assert "NOT those of MNIST" in text
    assert str(cache / "mnist") in text
    assert str(MNIST.files[0].content_sha256) in text


@needs_mnist
def test_mnist_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    data, text = load_mnist_or_digits()
    assert text is None
    assert data.name == "mnist"
    # Facts published with the set: how many of each digit there are.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_train).tolist() == counts
    assert data.y_train[:5].tolist() == [5, 0, 4, 1, 9]


@needs_mnist
def test_keras_way_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from convmill.datasets import mnist

    folder = Path(os.environ["CONVMILL_DATA"]) / "mnist"
    monkeypatch.delenv("CONVMILL_DATA")
    (x_train, y_train), (x_test, y_test) = mnist.load_data(path=folder)
    assert x_train.shape == (60_000, 28, 28)
    assert x_test.shape == (10_000, 28, 28)
    assert y_train.shape == (60_000,)
    assert y_test.shape == (10_000,)
    assert {each.dtype for each in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}


def test_digits_the_keras_way() -> None:
    (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
    assert (x_train.shape, x_test.shape) == ((1437, 28, 28), (360, 28, 28))
    assert (y_train.shape, y_test.shape) == ((1437,), (360,))
    assert {each.dtype for each in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}


def test_fashion_mnist_offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    with pytest.raises(DataError) as caught:
        datasets.fashion_mnist.load_data()
    for file in FASHION_MNIST.files:
        assert f"{file.name}.gz  sha256 {file.gz_sha256}" in str(caught.value)
    assert str(cache / "fashion-mnist") in str(caught.value)


def test_errors_are_runtime_errors() -> None:
    assert issubclass(convmill.data.DataError, RuntimeError)
