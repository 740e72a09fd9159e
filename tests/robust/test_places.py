"""Folders that are full, may not be written, or vanish: one error or none, and nothing half done.

Full and read-only folders are small file systems of their own: permissions and quotas do not hold
everybody back. Where the tests may not mount any they are skipped.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from convmill import datasets, models
from convmill.callbacks import Checkpoint
from convmill.data import DataError
from convmill.data.download import download
from convmill.failure import Failure
from convmill.files import write_text_whole
from convmill.runtime import cache
from convmill.study import experiment, store
from tests.data.tiny import Server, Tiny
from tests.robust.kills.code import Tuned
from tests.study.tables import small

X, Y = np.zeros((8, 100), np.float32), np.zeros((8, 300), np.float32)


def net() -> Any:
    model = models.Sequential([keras.Input((100,)), keras.layers.Dense(300)])
    model.compile("adam", "mse")
    return model


def mount(*options: str, at: Path) -> None:
    done = subprocess.run(["mount", *options, str(at)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")


@contextlib.contextmanager
def mounted(*options: str, at: Path) -> Iterator[None]:
    mount(*options, at=at)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture(params=["full", "read-only"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be written any more."""
    folder = tmp_path / "place"
    folder.mkdir()
    try:
        with mounted("-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", at=folder):
            for name in ("net.keras", "net.weights.h5", "text.txt"):
                (folder / name).write_text("old")
            if request.param == "full":
                with contextlib.suppress(OSError), (folder / "filler").open("wb", 0) as file:
                    while True:
                        file.write(bytes(4096))
            else:
                mount("-o", "remount,ro", at=folder)
            yield folder
    except FileNotFoundError:
        pytest.skip("there is no mount here")


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def fetched(place: Path, elsewhere: Path) -> None:
    tiny, server = Tiny(elsewhere, (200, 200)), Server()
    try:
        download(tiny.with_mirrors(server.serve_npz(tiny.npz)), place)
    finally:
        server.stop()


def decoded(place: Path, elsewhere: Path) -> None:
    (elsewhere / "pictures" / "a").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (9, 9)).save(elsewhere / "pictures" / "a" / f"{number}.png")
    datasets.folder(elsewhere / "pictures", None, image_size=(200, 200), cache=place)


def studied(place: Path, elsewhere: Path) -> None:
    experiment.carry_out(small(elsewhere), folder=place / "study", workers=1, verbose=False)


WRITERS: dict[str, tuple[Callable[[Path, Path], object], type[Exception]]] = {
    "model": (lambda place, elsewhere: net().save(place / "net.keras"), OSError),
    "weights": (lambda place, elsewhere: net().save_weights(place / "net.weights.h5"), OSError),
    "text": (lambda place, elsewhere: write_text_whole(place / "text.txt", "x" * 9000), Failure),
    "data set": (fetched, DataError),
    "decoded images": (decoded, DataError),
    "study": (studied, Exception),
}


@pytest.mark.parametrize("kind", list(WRITERS))
def test_one_error_and_all_as_it_was(kind, place, tmp_path):
    write, expected = WRITERS[kind]
    before = files_in(place)
    with pytest.raises(expected, match=r"No space left on device|Read-only file system") as caught:
        write(place, tmp_path)
    assert isinstance(caught.value, OSError | DataError | Failure)
    assert files_in(place) == before
    assert (place / "net.keras").read_text() == "old"


def test_code_and_choices_are_not_kept_and_nothing_is_lost(place, monkeypatch, capsys):
    monkeypatch.setenv("CONVMILL_CACHE", "")
    tuned = Tuned()
    right = tuned.predicted()
    monkeypatch.setenv("CONVMILL_CACHE", str(place))
    before = files_in(place)
    assert tuned.predicted() == right
    cache.keep("code", bytes(100_000))
    assert cache.load("code") is None
    assert files_in(place) == before
    assert not capsys.readouterr().err


def test_a_training_goes_on_where_its_checkpoints_cannot(place):
    model = net()
    if (place / "filler").exists():
        checkpoint = Checkpoint(place / "run", every="1 steps")
        with pytest.warns(RuntimeWarning, match=r"could not be written: .*No space left"):
            model.fit(X, Y, batch_size=2, verbose=0, callbacks=[checkpoint])
        assert int(model.optimizer.iterations) == 4
        assert not [path for path in (place / "run").iterdir() if path.name != "lock"]
    else:
        with pytest.raises(OSError, match="Read-only file system"):
            model.fit(X, Y, verbose=0, callbacks=[Checkpoint(place / "run")])
        assert int(model.optimizer.iterations) == 0


# Folders that vanish ------------------------------------------------------------------------------


class Vanish(keras.callbacks.Callback):
    """Removes a folder behind the first batch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            shutil.rmtree(self.folder)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_checkpoints_whose_folder_vanishes_cost_no_training(tmp_path):
    model, run = net(), tmp_path / "run"
    callbacks = [Checkpoint(run, every="1 steps"), Vanish(run)]
    with pytest.warns(RuntimeWarning, match=r"could not be written: .*No such file"):
        model.fit(X, Y, batch_size=2, verbose=0, callbacks=callbacks)
    assert int(model.optimizer.iterations) == 4
    assert model.fit(X, Y, verbose=0, callbacks=[Checkpoint(run)]).epoch == [0]


def test_a_model_whose_folder_vanishes_says_so(tmp_path):
    model, folder = net(), tmp_path / "models"
    folder.mkdir()
    model.save(folder / "net.keras")
    shutil.rmtree(folder)
    for save in (model.save, model.save_weights):
        with pytest.raises(OSError, match=r"could not be written: No such file or directory"):
            save(folder / ("net.keras" if save == model.save else "net.weights.h5"))


def test_a_study_whose_folder_vanishes_says_so(tmp_path, monkeypatch):
    keep, kept = store.keep, []

    def vanishing(folder: Path, *given: Any) -> None:
        if kept:
            shutil.rmtree(folder)
        kept.append(given)
        keep(folder, *given)

    monkeypatch.setattr(store, "keep", vanishing)
    with pytest.raises(Failure, match=r"could not be written: No such file or directory"):
        experiment.carry_out(small(tmp_path), folder=tmp_path / "s", workers=1, verbose=False)
    monkeypatch.undo()
    result, _ = experiment.carry_out(
        small(tmp_path), folder=tmp_path / "s", workers=1, verbose=False
    )
    assert result.complete


def test_kept_code_whose_folder_vanishes_is_compiled_anew(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CONVMILL_CACHE", str(folder))
    tuned = Tuned()
    first = tuned.predicted()
    assert list(folder.iterdir())
    shutil.rmtree(folder)
    assert tuned.predicted() == first
    assert list(folder.iterdir())
    assert not capsys.readouterr().err
