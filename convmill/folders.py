"""``convmill.datasets.folder``: its arguments, checked and put to use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convmill.data.decode import MODES, WORKERS, Form
from convmill.data.image_files import ImageFiles, find
from convmill.data.resize import INTERPOLATIONS
from convmill.image_folder import ImageFolder
from convmill.kinds import check_kind, check_one_of, check_path, check_texts
from convmill.settings import expanded
from convmill.whole import check_whole, is_whole

LABEL_MODES = ("int", "categorical", "binary", None)
SUBSETS = ("training", "validation", "both")
DATA_FORMATS = ("channels_first", "channels_last", None)
LARGEST_SEED = 2**32 - 1  # of NumPy's RandomState, which orders the files as Keras does


def folder(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: int | tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    verbose: bool = True,
    *,
    cache: bool | str | os.PathLike[str] | None = None,
    workers: int = WORKERS,
) -> ImageFolder | tuple[ImageFolder, ImageFolder]:
    """A folder of images, one folder in it for each class, as batches for ``fit``.

    The arguments are those of ``keras.utils.image_dataset_from_directory``, with the same files in
    the same order for a seed and the same numbers; TensorFlow is not needed. JPEG, PNG, BMP and
    GIF files (the first picture) are decoded in ``workers`` threads.

    Args:
        cache: True keeps the decoded images in memory; a folder keeps them there in a file, which
            is used again as long as the images stay the same; False decodes them whenever they
            are read. None keeps them in memory if they take less than 1 GiB.

    Returns:
        A ``keras.utils.PyDataset`` with ``class_names`` and ``file_paths``: float32 images of
        0..255, (n, height, width, channels), and labels: int32 (n,), or float32 (n, classes) for
        "categorical", (n, 1) for "binary". Two of them for ``subset="both"``.

    Raises:
        TypeError, ValueError: an argument makes no sense.
        convmill.data.DataError: no folder, no images, or images that cannot be read (all named).
    """
    check_path("directory", directory)
    if class_names is not None:
        check_texts("class_names", class_names)
    if labels is None:
        label_mode = None
    check_one_of("label_mode", label_mode, LABEL_MODES)
    check_one_of("color_mode", color_mode, MODES)
    check_one_of("interpolation", interpolation, INTERPOLATIONS)
    check_one_of("data_format", data_format, DATA_FORMATS)
    cache = _cache(cache)
    workers = check_whole("workers", workers, 1)
    if seed is not None:
        seed = check_whole("seed", seed, 0, LARGEST_SEED)
    wanted = _wanted(labels if label_mode else None, class_names)
    _check_split(validation_split, subset, shuffle, seed)
    batch_size = check_whole("batch_size", batch_size, 1)
    crop, pad = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)
    if crop and pad:
        raise ValueError(
            "crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other. Received: both True"
        )
    form = Form(_size(image_size), color_mode, interpolation, crop, pad)
    files = find(os.fspath(expanded(directory)), wanted, class_names, follow_links)
    _check_classes(files, label_mode)
    if verbose:
        belonging = f" belonging to {len(files.class_names)} classes" if label_mode else ""
        print(f"Found {len(files)} files{belonging}.")
    if shuffle:
        seed = np.random.randint(1_000_000) if seed is None else seed
        files = files.shuffled(seed)

    def dataset(part: ImageFiles, shuffled: bool) -> ImageFolder:
        return ImageFolder(
            part,
            form,
            label_mode,
            batch_size,
            seed if shuffled else None,
            (data_format or keras.config.image_data_format()) == "channels_first",
            cache,
            workers,
        )

    if not validation_split:
        return dataset(files, shuffle)
    training, validation = _split(files, validation_split, verbose)
    if subset == "both":
        return dataset(training, shuffle), dataset(validation, False)
    return dataset(training if subset == "training" else validation, shuffle)


def _cache(cache: Any) -> bool | Path | None:
    """``cache``, of which a folder is a Path."""
    if cache is None or isinstance(cache, bool):
        return cache
    check_path("cache", cache, "True, False, None, or a folder")
    return expanded(cache)


def _size(image_size: Any) -> tuple[int, int]:
    if isinstance(image_size, int):
        image_size = (image_size, image_size)
    if not isinstance(image_size, list | tuple) or len(image_size) != 2:
        raise ValueError(f"image_size must be (height, width). Received: image_size={image_size!r}")
    height, width = (check_whole("image_size", each, 1) for each in image_size)
    return height, width


def _wanted(labels: Any, class_names: Sequence[str] | None) -> str | list[int] | None:
    """``labels``, of which an array is a list."""
    if isinstance(labels, str) and labels == "inferred":
        return labels
    if isinstance(labels, np.ndarray | tuple):
        labels = list(labels)
    if labels is not None and not (isinstance(labels, list) and all(map(is_whole, labels))):
        raise ValueError(
            'labels must be "inferred", None, or a list of one whole number for each image. '
            f"Received: labels={labels!r}"
        )
    if class_names is not None:
        raise ValueError(
            'class_names goes with labels="inferred" only, and with labels that are wanted. '
            f"Received: class_names={list(class_names)!r}"
        )
    return labels


def _check_split(split: float | None, subset: str | None, shuffle: bool, seed: int | None) -> None:
    if split is not None:
        check_kind("validation_split", split, (int, float, np.number), "a number between 0 and 1")
    if split and not 0 < split < 1:
        raise ValueError(
            f"validation_split must lie between 0 and 1. Received: validation_split={split!r}"
        )
    if bool(split) != bool(subset):
        raise ValueError(
            "validation_split and subset go together. "
            f"Received: validation_split={split!r}, subset={subset!r}"
        )
    if subset is not None:
        check_one_of("subset", subset, SUBSETS)
    if split and shuffle and seed is None:
        raise ValueError(
            "With validation_split and shuffle a seed is needed, so that no image is in both "
            "parts. Received: seed=None"
        )


def _check_classes(files: ImageFiles, label_mode: str | None) -> None:
    """Whether the labels are classes that ``label_mode`` has a place for."""
    count = len(files.class_names)
    if label_mode == "binary" and count != 2:
        raise ValueError(
            'label_mode="binary" needs exactly two classes. '
            f"Received: {', '.join(files.class_names)}"
        )
    if label_mode not in ("binary", "categorical") or files.labels is None:
        return
    if files.labels.min() < 0 or files.labels.max() >= count:
        raise ValueError(
            f"labels must lie in 0..{count - 1} for label_mode={label_mode!r}. "
            f"Received: {files.labels.min()}..{files.labels.max()}"
        )


def _split(files: ImageFiles, split: float, verbose: bool) -> tuple[ImageFiles, ImageFiles]:
    """Files to train on, and those to validate on: the last share ``split``."""
    count = int(split * len(files))
    if count in (0, len(files)):
        raise ValueError(
            "validation_split leaves no images to train or to validate on. "
            f"Received: validation_split={split!r} of {len(files)} images"
        )
    if verbose:
        print(f"{len(files) - count} files to train on, {count} to validate on.")
    at = len(files) - count
    return files.part(0, at), files.part(at, len(files))
