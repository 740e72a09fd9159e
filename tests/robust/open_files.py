"""Works done with fewer and fewer files that may still be opened: ``python -m
tests.robust.open_files FOLDER WORK...``.

A work is tried with none to spare, with one, two ... until it is done, so that each open in turn is
the first that is refused. A line of JSON says what became of each try.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from convmill import data, datasets, models
from convmill.callbacks import Checkpoint

MOST = 40  # files that a work may need at once
X, Y = np.random.default_rng(0).random((16, 8, 8, 1), np.float32), np.arange(16) % 2


def net(units: int = 2) -> Any:
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(units, "softmax")]
    model = models.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def code(folder: Path, place: Path) -> None:
    """Code that is compiled and kept; each try has a net of its own."""
    os.environ["CONVMILL_CACHE"] = str(place)
    try:
        net(units=2 + int(place.name)).fit(X, Y, verbose=0)
    finally:
        os.environ["CONVMILL_CACHE"] = ""


def checkpoints(folder: Path, place: Path) -> None:
    callbacks = [Checkpoint(place / "run", every="1 steps")]
    net().fit(X, Y, batch_size=8, verbose=0, callbacks=callbacks)


def model(folder: Path, place: Path) -> None:
    net().save(place / "net.keras")


def weights(folder: Path, place: Path) -> None:
    net().save_weights(place / "net.weights.h5")


def loading(folder: Path, place: Path) -> None:
    models.load_model(folder / "net.keras")


def data_set(folder: Path, place: Path) -> None:
    data.load(folder / "data.npz")


def pictures(folder: Path, place: Path) -> None:
    data.load(folder / "pictures")


def decoded(folder: Path, place: Path) -> None:
    datasets.folder(folder / "pictures", image_size=8, verbose=False, cache=place)[0]


def batches(folder: Path, place: Path) -> None:
    """Files that are opened while a model is trained."""
    read = datasets.folder(
        folder / "pictures", image_size=8, color_mode="grayscale", cache=False, verbose=False
    )
    net().fit(read, verbose=0)


WORKS: dict[str, Callable[[Path, Path], None]] = {
    work.__name__: work
    for work in (code, checkpoints, model, weights, loading, data_set, pictures, decoded, batches)
}


def prepare(folder: Path) -> None:
    """What works read; and each work once, so that all is imported that they need."""
    for number in range(6):
        (folder / "pictures" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / "pictures" / str(number % 2) / f"{number}.png")
    images = (X[..., 0] * 255).astype(np.uint8)
    labels = Y.astype(np.uint8)
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(folder / "data.npz", **arrays)
    net().save(folder / "net.keras")


def open_files() -> set[int]:
    return {number for number in map(int, os.listdir("/proc/self/fd")) if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False  # the listing's own
    return True


@contextlib.contextmanager
def to_spare(count: int) -> Iterator[None]:
    """So many more files may be opened."""
    there, limit = open_files(), 0
    while limit - len([number for number in there if number < limit]) <= count:
        limit += 1
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit - 1, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def attempt(work: str, folder: Path, place: Path, count: int) -> dict[str, Any]:
    """What became of a try."""
    place.mkdir(parents=True)
    for name in ("net.keras", "net.weights.h5"):
        (place / name).write_text("old")
    before, error, said = open_files(), None, []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with to_spare(count):
                WORKS[work](folder, place)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        said = [str(one.message) for one in warned if one.category is RuntimeWarning]
    gc.collect()  # errors keep what was open where they were raised
    left = [os.readlink(f"/proc/self/fd/{number}") for number in open_files() - before]
    files = {
        str(path.relative_to(place)): path.read_bytes() == b"old"
        for path in place.rglob("*")
        if path.is_file()
    }
    found = {"work": work, "spare": count, "error": error, "said": said, "open": left}
    return found | {"unfinished": [name for name in files if ".convmill-" in name], "old": files}


def main(folder: Path, works: list[str]) -> None:
    os.environ["CONVMILL_CACHE"] = ""
    prepare(folder)
    for work in works or list(WORKS):
        attempt(work, folder, folder / "tries" / work / "99", MOST)  # imports what is needed
        for count in range(MOST):
            found = attempt(work, folder, folder / "tries" / work / str(count), count)
            print(json.dumps(found), flush=True)
            if found["error"] is None and not found["said"] and (work != "code" or is_kept(found)):
                break


def is_kept(found: dict[str, Any]) -> bool:
    """Whether code was kept; where it cannot be, nobody is told."""
    return any(name.endswith(".code") for name in found["old"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
