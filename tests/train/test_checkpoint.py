"""A run that goes on from any of its checkpoints ends as one that was never stopped: with the same
bits, the same History and the same logs."""

from __future__ import annotations

import random
import shutil

import keras
import numpy as np
import pytest

from convmill import models
from convmill.callbacks import Checkpoint
from convmill.train.checkpoint.folder import Folder
from tests.train.nets import compiled, convnet, images

pytestmark = pytest.mark.usefixtures("strict")

X, Y = images(40)
SIZE = 8
EPOCHS = 3


def state(model, history):
    """All that a run leaves."""
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return {
        "variables": [one.numpy() for one in every],
        "history": history.history,
        "epochs": history.epoch,
        "numpy": np.random.random(3).tolist(),
        "python": random.random(),
        "predictions": model.predict(X, verbose=0),
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        if name == "variables":
            for number, (one, other) in enumerate(zip(found[name], value, strict=True)):
                np.testing.assert_array_equal(one, other, err_msg=str(number))
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def go(make, folder, fit, every="1 steps", callbacks=()):
    """A whole run, from a fresh model and the same seeds."""
    keras.utils.set_random_seed(5)
    model = make()
    checkpoints = [Checkpoint(folder, every=every, keep=1)] if folder else []
    history = model.fit(verbose=0, callbacks=[*callbacks, *checkpoints], **fit)
    return state(model, history)


@pytest.fixture
def copies(monkeypatch, tmp_path):
    """The folders as they were behind each checkpoint that was written."""
    plain, found = Folder.write, []

    def write(self, content):
        path = plain(self, content)
        if not found or found[-1] is not None:
            found.append(tmp_path / f"copy {len(found)}")
            shutil.copytree(self.path, found[-1])
        return path

    monkeypatch.setattr(Folder, "write", write)
    return found


def check(make, fit, copies, tmp_path, callbacks=lambda: ()):
    """From each checkpoint of a run another one goes on."""
    expected = go(make, None, fit, callbacks=callbacks())
    assert_same(go(make, tmp_path / "run", fit, callbacks=callbacks()), expected)
    folders = copies.copy()
    copies.append(None)
    for folder in folders:
        assert_same(go(make, folder, fit, callbacks=callbacks()), expected)
    return len(folders)


def arrays(**options):
    return {"x": X, "y": Y, "batch_size": SIZE, "epochs": EPOCHS} | options


def test_a_run_goes_on_from_each_of_its_steps(copies, tmp_path):
    def make():
        return compiled(convnet(models.Sequential), "adam")

    assert check(make, arrays(), copies, tmp_path) == EPOCHS * len(X) // SIZE + 1
