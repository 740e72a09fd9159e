"""Folders of images as batches for ``fit``: what ``convmill.datasets.folder`` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill.data.dataset import Array
from convmill.data.decode import Form
from convmill.data.decoded import decoded
from convmill.data.image_files import ImageFiles


class ImageFolder(keras.utils.PyDataset):
    """Batches of images and labels, (x, y), or x alone where there are no labels.

    Attributes:
        class_names: the classes, in the order of the labels.
        file_paths: of the images, before they are shuffled for an epoch.
        image_shape: (height, width, channels), or (channels, height, width).
    """

    def __init__(
        self,
        files: ImageFiles,
        form: Form,
        label_mode: str | None,
        batch_size: int,
        shuffle_seed: int | None,
        channels_first: bool,
        cache: bool | Path | None,
        workers: int,
    ) -> None:
        super().__init__()
        self.class_names = list(files.class_names)
        self.file_paths = list(files.paths)
        self.batch_size = batch_size
        self._labels = _encoded(files, label_mode)
        self._form = form
        self._channels_first = channels_first
        height, width, channels = form.shape
        self.image_shape = (channels, height, width) if channels_first else form.shape
        self._random = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)
        self._order = np.arange(len(files))
        self._kept = decoded(files.paths, form, cache, workers)
        if self._kept is None:  # else there is little to do, and Keras' workers would read ahead
            self.workers = workers
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.file_paths) // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        order = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        if self._kept is not None:
            x = self._kept[order].astype(np.float32, copy=False)
        else:
            x = np.empty((len(order), *self._form.shape), dtype=np.float32)
            for row, number in zip(x, order, strict=True):
                row[...] = self._form.read(self.file_paths[number])
        if self._channels_first:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return x if self._labels is None else (x, self._labels[order])

    def on_epoch_end(self) -> None:
        """Puts the images in another order, where they are shuffled."""
        if self._random is not None:
            self._order = self._random.permutation(len(self.file_paths))

    def state_dict(self) -> dict[str, Any]:
        """For ``Checkpoint``: the order of the images, and what the next one is drawn from."""
        drawn = None if self._random is None else self._random.bit_generator.state
        return {"order": self._order, "random": drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave."""
        self._order = state["order"]
        if self._random is not None:
            self._random.bit_generator.state = state["random"]


def _encoded(files: ImageFiles, label_mode: str | None) -> Array | None:
    """Labels as a loss takes them: int32 (n,), or float32 (n, classes) or (n, 1)."""
    if files.labels is None or label_mode is None:
        return None
    if label_mode == "int":
        return files.labels
    if label_mode == "binary":
        return files.labels.astype(np.float32)[:, np.newaxis]
    return np.eye(len(files.class_names), dtype=np.float32)[files.labels]
