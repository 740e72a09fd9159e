"""Doors for data: IDX, npz, and pictures in the formats that folders may hold."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convmill import data, datasets
from convmill.cli.images import read_picture
from tests.robust.fuzz import mutations
from tests.robust.fuzz.files import QUICK, SLOW, Door, both
from tests.robust.fuzz.outcomes import expect

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 4), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
Arrays = tuple[np.ndarray, ...]


def data_doors(folder: Path) -> list[Door]:
    """All of them."""
    return [
        *both(_idx(folder / "idx", gzip.compress, "images.gz"), _gzip_with, QUICK),
        _idx(folder / "plain", bytes, "images"),
        *both(_npz(folder), mutations.zip_with, QUICK),
        *(door for name in ("png", "gif", "bmp", "jpg") for door in _pictures(folder, name)),
    ]


def _idx(folder: Path, pack: Callable[[bytes], bytes], name: str) -> Door:
    """The images of a folder of IDX files."""
    folder.mkdir()
    ending = ".gz" if name.endswith(".gz") else ""
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", PIXELS), ("labels-idx1", LABELS)):
            (folder / f"{part}-{kind}-ubyte{ending}").write_bytes(pack(_idx_of(array)))
    path = folder / f"train-images-idx3-ubyte{ending}"
    content = path.read_bytes()

    def enter(may_differ: bool) -> None:
        found = data.load(str(folder))
        same = np.array_equal(found.x_train, PIXELS)
        # a plain file has no checksum: what was read is what it says, to the last byte
        told = not ending and _idx_of(found.x_train) == path.read_bytes()
        expect(same or may_differ or told, "other images, without a word")

    return Door(f"idx {name}", path, content, enter)


def _idx_of(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def _gzip_with(content: bytes, number: int) -> bytes:
    return gzip.compress(mutations.mutated(gzip.decompress(content), number))


def _npz(folder: Path) -> Door:
    path = folder / "set.npz"
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)

    def enter(may_differ: bool) -> None:
        found = data.load(str(path))
        same = may_differ or all(
            np.array_equal(getattr(found, name), array) for name, array in arrays.items()
        )
        expect(same, "other arrays, without a word")

    return Door("npz", path, buffer.getvalue(), enter)


# Pictures ----------------------------------------------------------------------------------------


def _pictures(folder: Path, ending: str) -> list[Door]:
    """A picture among others, as data, as batches of images, and as what is predicted."""
    root = folder / ending
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(2):
            _picture(number).save(root / label / f"{number}.{ending}")
    path = root / "a" / f"1.{ending}"
    content, checked = path.read_bytes(), ending == "png"
    readers: dict[str, Callable[[], np.ndarray]] = {
        "data": lambda: _as_data(root),
        "folder": lambda: _as_batches(root),
    }
    if ending in ("png", "jpg"):
        readers["picture"] = lambda: np.asarray(read_picture(path))
    doors: list[Door] = []
    for kind, read in readers.items():
        expected, name = read(), f"{ending} as {kind}"

        def enter(
            may_differ: bool,
            read: Any = read,
            expected: Any = expected,
            name: str = name,
        ) -> None:
            found = read()
            same = np.array_equal(found, expected)
            expect(same or may_differ or not checked, "other pixels, without a word")

        turns = QUICK if kind == "picture" else SLOW
        door = Door(name, path, content, enter, turns)
        doors += both(door, mutations.png_with, turns) if checked else [door]
    return doors


def _picture(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (5, 6), np.uint8))


def _as_data(root: Path) -> np.ndarray:
    return data.load(str(root)).x_train


def _as_batches(root: Path) -> np.ndarray:
    form: dict[str, Any] = {"image_size": (5, 6), "color_mode": "grayscale", "shuffle": False}
    batches: Any = datasets.folder(str(root), **form)
    return np.concatenate([batches[number][0] for number in range(len(batches))])
