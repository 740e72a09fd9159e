"""``convmill tune``; what it measures is made up."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.cli.test_process import COMMAND, INTERRUPTED
from tests.engine.favour import favour, forgetful

__all__ = ["forgetful"]
pytestmark = pytest.mark.usefixtures("forgetful")

FAILED, WRONG = 1, 2


def is_last(part, value):
    return value == part.values[-1]


def test_a_saved_model(run, lines, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, is_last)
    before = trained.read_bytes()
    outcome = run("tune", trained, "--data", lines, "--batch-size", 8, "--threads", 1)
    assert outcome.code == 0
    assert "taken" in outcome.out
    assert "2.00 times as fast" in outcome.out
    assert "Measuring training" in outcome.err
    assert list(tmp_path.glob("*.tuned"))
    assert trained.read_bytes() == before


def test_a_function_in_a_script(run, lines, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, lambda part, value: False)
    script = tmp_path / "net.py"
    script.write_text(
        "from keras import layers, models\n"
        "def build(input_shape, classes):\n"
        "    return models.Sequential([layers.Input(input_shape), layers.Conv2D(16, 3),\n"
        "        layers.Flatten(), layers.Dense(classes, activation='softmax')])\n"
    )
    outcome = run("tune", f"{script}:build", "--data", lines)
    assert outcome.code == 0
    assert "Nothing is clearly quicker than what was chosen for training." in outcome.out


def test_what_is_not_there(run, lines, tmp_path):
    outcome = run("tune", tmp_path / "none.keras", "--data", lines)
    assert outcome.code == WRONG
    assert "There is no file" in outcome.err


def test_images_of_another_size(run, trained, tmp_path):
    import numpy as np

    x, y = np.zeros((6, 5, 5), np.uint8), np.arange(6) % 3
    np.savez(tmp_path / "small.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    outcome = run("tune", trained, "--data", tmp_path / "small.npz")
    assert outcome.code == FAILED
    assert "5x5" in outcome.err.replace(" ", "").replace("(5,5,1)", "5x5")


def test_ctrl_c_while_it_measures(start, lines, trained, tmp_path):
    before = trained.read_bytes()
    command = [*COMMAND, "tune", trained, "--data", lines, "--threads", 1]
    environment = os.environ | {"CONVMILL_CACHE": str(tmp_path)}
    pipe = subprocess.PIPE
    process = start([*map(str, command)], env=environment, stdout=pipe, stderr=pipe, text=True)
    for line in process.stderr:
        if line.startswith("Measuring training: program 2 "):
            break
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate()
    assert process.returncode == INTERRUPTED
    assert shown == ""
    assert errors.splitlines()[-1] == "Stopped."
    assert "Traceback" not in errors
    assert trained.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".convmill-")]
    assert not list(tmp_path.glob("*.tuned"))


@pytest.mark.parametrize("moment", ["program 1 of", "what was found"])
def test_ctrl_c_leaves_what_was_known(run, lines, trained, monkeypatch, tmp_path, moment):
    """Tuned choices are those of before until the new ones are known."""
    monkeypatch.setenv("CONVMILL_CACHE", str(tmp_path))
    favour(monkeypatch, is_last)
    command = ["tune", trained, "--data", lines, "--threads", 1]
    assert run(*command).code == 0
    known = {path.name: path.read_bytes() for path in tmp_path.glob("*.tuned")}

    def interrupt(text):
        if moment in text:
            raise KeyboardInterrupt

    favour(monkeypatch, lambda part, value: value == part.values[1])
    with monkeypatch.context() as patch:
        patch.setattr("convmill.cli.tune._progress", interrupt)
        outcome = run(*command)
    assert outcome.code == INTERRUPTED
    assert outcome.err.strip() == "Stopped."
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.tuned")} == known
