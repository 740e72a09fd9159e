"""Loading the user's own data: IDX folders, .npz files, folders of pictures.

A folder of pictures is `root/<class>/*.png|jpg|jpeg|bmp|gif`, or the same below `root/train/` and
`root/test/`; without these two, every fifth picture of each class is for the test.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from convmill import pictures
from convmill.data.dataset import Array, DataError, Dataset, every_fifth_for_test
from convmill.data.decode import each
from convmill.data.files import ARRAY_NAMES
from convmill.data.idx import read_idx
from convmill.data.image_files import ENDINGS
from convmill.data.known import IDX_NAMES
from convmill.data.npz import read_npz
from convmill.data.sources import find_idx
from convmill.kinds import check_path
from convmill.settings import expanded
from convmill.threads import is_refusal

# Labels above this are taken for a mistake; a name is made for each class.
MOST_CLASSES = 100_000
# How a picture is read: one channel or three. Others (transparency, 16 bits) are refused.
CHANNELS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


def load_path(path: Path) -> Dataset:
    """Loads data of any size from an .npz file (x_train, y_train, x_test, y_test) or a folder
    with the four IDX files that MNIST has, or with pictures.

    Raises:
        DataError: nothing there, or not one of these, or wrong within.
    """
    if path.is_dir():
        idx = [find_idx(path, name) for name in IDX_NAMES]
        if any(file.exists() for file in idx):
            return _from_arrays(path, [read_idx(file) for file in idx])
        return load_folder(path)
    if path.suffix != ".npz":
        raise DataError(
            "Own data must be an .npz file, a folder with the four IDX files that MNIST has, or "
            f"a folder <class>/*.png.\nReceived: {path}."
        )
    return _from_arrays(path, read_npz(path, ARRAY_NAMES))


def load_folder(path: str | os.PathLike[str]) -> Dataset:
    """Loads a folder of pictures: uint8 (n, height, width) or (n, height, width, 3).

    Classes are the folders' names, sorted. All pictures must have one size, and all be grey or
    all be coloured.

    Raises:
        TypeError: ``path`` is no path.
        DataError: no folder; no pictures; such as differ from the first or cannot be read (all
            named); train/ and test/ with different classes; without these, a class with less than
            two pictures.
    """
    check_path("path", path, "a folder")
    path = expanded(path)
    if not path.is_dir():
        raise DataError(f"There is no folder at this path.\nReceived: {str(path)!r}.")
    if (path / "train").is_dir() and (path / "test").is_dir():
        classes, test_classes = _find_pictures(path / "train"), _find_pictures(path / "test")
        odd = sorted(classes.keys() ^ test_classes.keys())
        if odd:
            raise DataError(
                f"{path}: train/ and test/ must hold the same classes.\n"
                f"Received: only in one of them: {', '.join(odd)}."
            )
        first = next(iter(classes.values()))[0]
        x_train, y_train = _read_pictures(classes, first)
        x_test, y_test = _read_pictures(test_classes, first)
    else:
        classes = _find_pictures(path)
        few = [name for name, files in classes.items() if len(files) < 2]
        if few:
            raise DataError(
                f"{path}: every class needs at least 2 pictures, one of them for the test.\n"
                f"Received: fewer in {', '.join(few)}."
            )
        x, y = _read_pictures(classes, next(iter(classes.values()))[0])
        train, test = every_fifth_for_test(y)
        x_train, y_train, x_test, y_test = x[train], y[train], x[test], y[test]
    return Dataset(str(path), x_train, y_train, x_test, y_test, tuple(classes), str(path))


def _find_pictures(root: Path) -> dict[str, list[Path]]:
    """Class name -> its pictures, both sorted. Other files are passed over, hidden ones too."""
    classes = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        files = sorted(
            file
            for file in folder.iterdir()
            if file.suffix.lower() in ENDINGS and not file.name.startswith(".")
        )
        if files:
            classes[folder.name] = files
    if not classes:
        raise DataError(
            f"{root}: no pictures found.\n"
            f"Wanted: {root.name}/<class>/*.png (or .jpg, .jpeg, .bmp, .gif), or the four IDX "
            "files of MNIST."
        )
    return classes


def _read_pictures(classes: dict[str, list[Path]], first: Path) -> tuple[Array, Array]:
    """All pictures (n, height, width[, 3]), each like `first`, and their labels (n,)."""
    like = _read_picture(first)
    files = [(label, file) for label, some in enumerate(classes.values()) for file in some]
    x = np.empty((len(files), *like.shape), dtype=np.uint8)
    places = {str(file): place for place, (_, file) in enumerate(files)}

    def read(path: str) -> None:
        file = Path(path)
        picture = _read_picture(file)
        if picture.shape != like.shape:
            raise DataError(f"{file} differs from {first}: {_size(picture)}, not {_size(like)}")
        x[places[path]] = picture

    advice = "Mend or remove them (convmill.datasets.folder brings all to one size)"
    each(read, list(places), advice=advice)
    smallest = np.uint8 if len(classes) <= 256 else np.int64
    return x, np.array([label for label, _ in files], dtype=smallest)


def _read_picture(file: Path) -> Array:
    try:
        with pictures.opened(file) as picture:
            channels = CHANNELS.get(picture.mode)
            if channels is None:
                raise DataError(
                    f"{file}: must be grey or RGB with 8 bits and no transparency.\n"
                    f"Received: mode {picture.mode}."
                )
            return np.asarray(picture.convert(channels))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if is_refusal(error):
            raise  # nothing is wrong with the picture
        raise DataError(f"{file}: cannot be read as a picture ({error}).") from error


def _size(picture: Array) -> str:
    kind = "grey" if picture.ndim == 2 else "RGB"
    return f"{picture.shape[1]}x{picture.shape[0]} {kind}"


def _from_arrays(path: Path, arrays: Sequence[Array]) -> Dataset:
    x_train, y_train, x_test, y_test = arrays
    for name, y in (("y_train", y_train), ("y_test", y_test)):
        if y.size == 0 or y.dtype.kind not in "ui":
            raise DataError(
                f"{path}: {name} must hold whole numbers, at least one.\n"
                f"Received: shape {y.shape}, {y.dtype}."
            )
    highest = max(int(y_train.max()), int(y_test.max()))
    if highest >= MOST_CLASSES:
        raise DataError(f"{path}: labels must lie in 0..{MOST_CLASSES - 1}.\nReceived: {highest}.")
    names = tuple(str(label) for label in range(highest + 1))
    return Dataset(str(path), x_train, y_train, x_test, y_test, names, str(path))
