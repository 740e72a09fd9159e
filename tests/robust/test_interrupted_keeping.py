"""Ctrl-C at any line of what keeps checkpoints: state is whole, and another run goes on to the same
end."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

import convmill
from convmill.callbacks import Checkpoint
from convmill.train.checkpoint import folder as folder_module
from tests.tracing import Tracer, traced
from tests.train.nets import compiled, convnet, images

pytestmark = [
    pytest.mark.usefixtures("strict"),
    pytest.mark.skipif(os.name == "nt", reason="SIGINT is raised otherwise there"),
]

PACKAGE = Path(convmill.__file__).parent / "train"
FILES = frozenset(map(str, [*PACKAGE.glob("checkpoint/*.py"), PACKAGE / "epochs.py"]))
X, Y = images(16)
EPOCHS = 2


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setenv("CONVMILL_STRICT", "1")


def press():
    signal.raise_signal(signal.SIGINT)


def fit(folder, tracer=None):
    keras.utils.set_random_seed(5)
    model = compiled(convnet(convmill.models.Sequential, 0.3), "adam")
    keep = [Checkpoint(folder, every="1 steps")] if folder else []
    with traced(tracer):
        history = model.fit(
            X, Y, batch_size=8, epochs=EPOCHS, validation_data=(X, Y), verbose=0, callbacks=keep
        )
    return history.history, model.get_weights()


def assert_same(found, expected):
    assert found[0] == expected[0]
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("each", [40, pytest.param(1, marks=pytest.mark.long)])
def test_ctrl_c_at_any_line(each, tmp_path):
    expected = fit(None)
    counter = Tracer(FILES)
    assert_same(fit(tmp_path / "whole", counter), expected)
    handler = signal.getsignal(signal.SIGINT)
    places = sorted(counter.last.values())
    assert len(places) > 150
    heard = 0
    for at in places[::each]:
        folder = tmp_path / "run"
        tracer = Tracer(FILES, press, at)
        try:
            fit(folder, tracer)
        except KeyboardInterrupt:
            heard += 1
        else:  # it came when all was done
            assert tracer.struck is None, tracer.struck
        assert signal.getsignal(signal.SIGINT) is handler, tracer.struck
        left = os.listdir(folder) if folder.exists() else []
        assert not [name for name in left if name.startswith(".")], tracer.struck
        folder_module._ended.clear()  # as in another process
        if sum(name.endswith(".zip") for name in left):
            assert_same(fit(folder), expected)
        shutil.rmtree(folder, ignore_errors=True)
    assert heard > len(places) / each / 2
