"""``convmill train --checkpoint`` and ``convmill resume``: the same end, whatever comes between."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import fields

import keras
import numpy as np
import pytest

from convmill.cli.job import Job
from convmill.cli.run_file import read_run, write_run
from convmill.data import Dataset, is_name
from convmill.train.checkpoint.folder import Folder
from tests.cli.lines import arrays

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
OPTIONS = ("--epochs", 3, "--batch-size", 16, "--seed", 4, "--validate")


def train(run, lines, folder, *more):
    outputs = "--out", folder / "net.keras", "--history", folder / "history.json"
    kept = "--checkpoint", folder / "run", "--every", "3 steps"
    return run("train", "--data", lines, *OPTIONS, *outputs, *kept, *more)


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C comes when the second checkpoint is written."""
    plain, count = Folder.write, [0]

    def write(self, content):
        path = plain(self, content)
        count[0] += 1
        if count[0] == 2:
            signal.raise_signal(signal.SIGINT)
        return path

    monkeypatch.setattr(Folder, "write", write)


def left(folder):
    model = keras.saving.load_model(folder / "net.keras")
    every = [*model.weights, *model.optimizer.variables]
    return [one.numpy() for one in every], json.loads((folder / "history.json").read_text())


def test_an_interrupted_training_goes_on(run, lines, tmp_path, monkeypatch, interrupted):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    stopped.mkdir()
    whole.mkdir()
    outcome = train(run, lines, stopped)
    assert outcome.code == INTERRUPTED
    hint = f"'convmill resume {stopped / 'run'}' goes on from here.\n"
    assert outcome.err.endswith("Stopped.\n" + hint)
    assert os.listdir(stopped) == ["run"]
    monkeypatch.chdir(tmp_path)  # from wherever it is asked
    outcome = run("resume", "stopped/run", "--json")
    assert outcome.code == 0
    assert len(outcome.json["history"]["val_loss"]) == 3
    assert train(run, lines, whole).code == 0
    (weights, history), (expected, expected_history) = left(stopped), left(whole)
    assert history == expected_history
    for mine, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ["digits", "MNIST", "./digits", "pictures"])
def test_a_name_goes_before_a_folder_of_that_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("digits", "MNIST", "pictures"):
        (tmp_path / folder).mkdir()
    nothing = dict.fromkeys(field.name for field in fields(Job))
    numbers = {"epochs": 1, "batch_size": 2, "seed": 3, "validate": False, "every": "60s"}
    job = Job(**(nothing | numbers | {"data_name": name, "checkpoint": tmp_path / "run"}))
    write_run(job, Dataset(name, **arrays(), class_names=("a", "b", "c"), source=name))
    found = read_run(tmp_path / "run", quiet=True).data_name
    assert found == (name if is_name(name) else str(tmp_path / name))


def test_other_data_are_refused(run, tmp_path, interrupted):
    path, content = tmp_path / "set.npz", arrays()
    np.savez(path, **content)
    assert train(run, path, tmp_path).code == INTERRUPTED
    content["x_train"][5, 0, 0] += 1
    np.savez(path, **content)
    before = sorted(os.listdir(tmp_path / "run"))
    outcome = run("resume", tmp_path / "run")
    assert outcome.code == FAILED
    assert "is of a training on other data" in " ".join(outcome.err.split())
    assert sorted(os.listdir(tmp_path / "run")) == before
    content["x_train"][5, 0, 0] -= 1
    np.savez(path, **content)
    assert run("resume", tmp_path / "run").code == 0


def test_a_folder_that_holds_something_is_not_begun_with(run, lines, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    outcome = train(run, lines, tmp_path)
    assert outcome.code == WRONG_USAGE
    assert "'convmill resume" in outcome.err
    assert os.listdir(tmp_path / "run") == ["file"]


@pytest.mark.parametrize("every", ["0s", "often", "1.5 steps"])
def test_how_often_makes_no_sense(run, tmp_path, every):
    outcome = run("train", "--checkpoint", tmp_path / "run", "--every", every)
    assert outcome.code == WRONG_USAGE
    assert "'60s', '5min', '1h' or '100 steps'" in " ".join(outcome.err.split())


def test_how_often_needs_a_folder(run):
    outcome = run("train", "--data", "digits", "--every", "30s")
    assert outcome.code == WRONG_USAGE
    assert "for --every: It needs --checkpoint FOLDER. Received: " in outcome.err
    assert outcome.out == ""


def test_a_folder_without_a_training(run, tmp_path):
    outcome = run("resume", tmp_path)
    assert outcome.code == FAILED
    assert "holds no training" in outcome.err


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}"),
        '{"format": "convmill run", "version": 2, "data": "", "options": {"seed": "x"}}',
    ],
)
def test_a_damaged_description_of_a_training(run, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    outcome = run("resume", tmp_path)
    assert outcome.code == FAILED
    assert "run.json is" in outcome.err


@pytest.mark.parametrize("every", ["0s", "0 steps", "often"])
def test_a_description_that_writes_checkpoints_at_no_time(run, lines, tmp_path, every):
    outcome = train(run, lines, tmp_path, "--epochs", 1)
    assert outcome.code == 0
    path = tmp_path / "run" / "run.json"
    described = json.loads(path.read_text())
    described["options"]["every"] = every
    path.write_text(json.dumps(described))
    outcome = run("resume", tmp_path / "run")
    assert outcome.code == FAILED
    assert "is not what this convmill writes" in outcome.err
