"""Environment variables and paths that make no sense: one clear line, and nothing done."""

from __future__ import annotations

import pytest

from convmill import settings

FAILED, USAGE = 1, 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KERAS_BACKEND", "nope", "KERAS_BACKEND must be one of jax, tensorflow"),
        ("CONVMILL_THREADS", "x", "CONVMILL_THREADS must be a whole number from 1 to 256"),
        ("CONVMILL_THREADS", "0", "CONVMILL_THREADS must be"),
        ("CONVMILL_THREADS", "1.5", "CONVMILL_THREADS must be"),
        ("CONVMILL_THREADS", "9" * 5000, "CONVMILL_THREADS must be"),
        ("CONVMILL_STRICT", "perhaps", "CONVMILL_STRICT must be 0 or 1"),
        ("CONVMILL_OFFLINE", "2", "CONVMILL_OFFLINE must be 0 or 1"),
        ("CONVMILL_TARGET", "mmx", "CONVMILL_TARGET must be"),
    ],
)
def test_values_that_are_none(run, lines, trained, tmp_path, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    out = tmp_path / "new.keras"
    for arguments in (
        ["train", "--data", lines, "--out", out],
        ["evaluate", trained, "--data", lines],
        ["inspect", trained],
        ["show", "filters", trained, "--out", tmp_path / "new.png"],
    ):
        outcome = run(*arguments)
        assert outcome.code == USAGE
        assert outcome.out == ""
        assert outcome.err.startswith(f"Error: {said}")
        assert f"Received: {name}={value!r}" in outcome.err or name == "CONVMILL_THREADS"
        assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert run("train", "--help").code == 0


def test_data_sets_need_no_keras(run, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nope")
    assert run("data", "list").code == 0
    assert run("data", "check", "digits").code == 0
    monkeypatch.setenv("CONVMILL_OFFLINE", "maybe")
    outcome = run("data", "list")
    assert (outcome.code, outcome.out) == (USAGE, "")


@pytest.mark.parametrize("path", ["~nosuch", "~nosuch/set.npz", "~nosuch/pictures/"])
def test_the_home_of_nobody(run, monkeypatch, path):
    outcome = run("train", "--data", path)
    assert outcome.code == USAGE
    assert f"Received: {path!r}" in outcome.err
    monkeypatch.setenv("CONVMILL_DATA", path)
    monkeypatch.setenv("CONVMILL_OFFLINE", "1")
    assert run("data", "list").code == 0
    assert run("data", "check", "fashion_mnist").code == FAILED
    outcome = run("data", "fetch", "fashion_mnist")
    assert outcome.code == FAILED
    assert f"{path.rstrip('/')}/fashion_mnist: not there" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", "~nosuch/net.keras"],
        ["train", "--history", "~nosuch/run.json"],
        ["train", "--model", "~nosuch/net.keras"],
        ["train", "--model", "~nosuch/net.py:build"],
        ["inspect", "~nosuch/net.keras"],
        ["inspect", "~nosuch/net.py:build"],
        ["evaluate", "~nosuch/net.keras", "--data", "digits"],
        ["predict", "~nosuch/net.keras", "~nosuch/seven.png"],
        ["show", "filters", "~nosuch/net.keras"],
        ["show", "curves", "~nosuch/run.json"],
    ],
)
def test_other_paths_of_nobody(run, arguments):
    outcome = run(*arguments)
    assert outcome.code == USAGE
    assert outcome.out == ""
    assert "~nosuch" in outcome.err


def test_a_home_that_cannot_be_told(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(settings.expanded("~/x")) == "/home/somebody/x"
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where nobody has an entry
    assert str(settings.keras_folder()) == "~/.keras"
