"""Data sets as Keras gives them: `datasets.mnist.load_data()`.

    from convmill import datasets
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()

`mnist` and `fashion_mnist`: 60,000 + 10,000 images. `digits`: 1,437 + 360, always at hand.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from convmill.data import load_named
from convmill.data.dataset import Array

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class NamedDataset:
    """One data set, with the function that Keras' module of the same name has."""

    name: str

    def load_data(self, path: str | os.PathLike[str] | None = None) -> tuple[Pair, Pair]:
        """Loads the set; downloads it the first time.

        Args:
            path: a folder with the four IDX files (plain or .gz), or an .npz file. None looks in
                `$CONVMILL_DATA/<name>/` and in Keras' cache, then downloads. `digits` takes none.

        Returns:
            (x_train, y_train), (x_test, y_test): uint8 images (n, 28, 28), uint8 labels (n,).

        Raises:
            convmill.data.DataError: wrong at `path`, or nowhere to be had.
        """
        data = load_named(self.name, path)
        return (data.x_train, data.y_train), (data.x_test, data.y_test)


mnist = NamedDataset("mnist")
fashion_mnist = NamedDataset("fashion_mnist")
digits = NamedDataset("digits")

__all__ = ["digits", "fashion_mnist", "mnist"]
