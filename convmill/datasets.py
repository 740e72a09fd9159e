"""Data sets as Keras gives them: `datasets.mnist.load_data()`.

    from convmill import datasets
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()

`mnist` and `fashion_mnist`: 60,000 + 10,000 images. `cifar10` and `cifar100`: 50,000 + 10,000
in colour. `digits`: 1,437 + 360, always at hand. `folder(path)`: your own images.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from convmill.data import Dataset, load_named
from convmill.data.dataset import Array
from convmill.folders import folder

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class NamedDataset:
    """One data set, with the function that Keras' module of the same name has."""

    name: str

    def load_data(self, path: str | os.PathLike[str] | None = None) -> tuple[Pair, Pair]:
        """Loads the set; downloads it the first time.

        Args:
            path: a folder with the four IDX files (plain or .gz), or an .npz file. None looks in
                `$CONVMILL_DATA/<name>/` and in Keras' cache, then downloads. `digits` takes none:
                it comes with convmill.

        Returns:
            (x_train, y_train), (x_test, y_test): uint8 images (n, 28, 28), uint8 labels (n,).

        Raises:
            convmill.data.DataError: wrong at `path`, or nowhere to be had; a `path` for `digits`.
        """
        data = load_named(self.name, path)
        return (data.x_train, data.y_train), (data.x_test, data.y_test)


class Cifar10:
    """CIFAR-10, with the function that Keras' module of the same name has."""

    def load_data(self, path: str | os.PathLike[str] | None = None) -> tuple[Pair, Pair]:
        """Loads the set; downloads it the first time.

        Args:
            path: cifar-10-python.tar.gz, or a folder with it or with what it holds. None looks in
                `$CONVMILL_DATA/cifar10/` and in Keras' cache, then downloads.

        Returns:
            (x_train, y_train), (x_test, y_test): uint8 images (n, 32, 32, 3), or (n, 3, 32, 32)
            where Keras is set to channels_first; uint8 labels (n, 1).

        Raises:
            convmill.data.DataError: wrong at `path`, or nowhere to be had.
        """
        return _as_keras_has_them(load_named("cifar10", path), "uint8")


class Cifar100:
    """CIFAR-100, with the function that Keras' module of the same name has."""

    def load_data(
        self,
        label_mode: Literal["fine", "coarse"] = "fine",
        path: str | os.PathLike[str] | None = None,
    ) -> tuple[Pair, Pair]:
        """Loads the set; downloads it the first time.

        Args:
            label_mode: "fine", 100 classes, or "coarse", 20 groups of them.
            path: cifar-100-python.tar.gz, or a folder with it or with what it holds. None looks
                in `$CONVMILL_DATA/cifar100/` and in Keras' cache, then downloads.

        Returns:
            As `Cifar10.load_data`; the labels int64, as Keras has them.

        Raises:
            ValueError: another label_mode.
            convmill.data.DataError: wrong at `path`, or nowhere to be had.
        """
        if label_mode not in ("fine", "coarse"):
            raise ValueError(
                f'label_mode must be "fine" or "coarse". Received: label_mode={label_mode!r}'
            )
        data = load_named("cifar100", path, coarse=label_mode == "coarse")
        return _as_keras_has_them(data, "int64")


def _as_keras_has_them(data: Dataset, labels: str) -> tuple[Pair, Pair]:
    """Images in Keras' order of axes and labels as columns."""
    train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
    channels_first = keras.config.image_data_format() == "channels_first"

    def pair(x: Array, y: Array) -> Pair:
        if channels_first:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return x, y.astype(labels)[:, np.newaxis]

    return pair(*train), pair(*test)


mnist = NamedDataset("mnist")
fashion_mnist = NamedDataset("fashion_mnist")
digits = NamedDataset("digits")
cifar10 = Cifar10()
cifar100 = Cifar100()

__all__ = ["cifar10", "cifar100", "digits", "fashion_mnist", "folder", "mnist"]
