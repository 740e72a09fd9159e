"""Wrong command lines: exit code 2, one clear error, and nothing done."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from unittest.mock import Mock

import click
import pytest

from convmill.cli import app
from convmill.cli.app import cli

USAGE = 2
EXAMPLE = "    convmill "  # to be copied, so never broken


def commands(group: click.Group) -> list[click.Command]:
    """The commands of a group and of the groups in it."""
    found: list[click.Command] = []
    for command in group.commands.values():
        found.append(command)
        if isinstance(command, click.Group):
            found += commands(command)
    return found


def test_every_command_and_option_is_explained():
    for command in commands(cli):
        assert command.help, command.name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["predict"], ["data", "check"]])
def test_help_fits_a_narrow_terminal(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "40")
    outcome = run(*command, "--help")
    assert outcome.code == 0
    text = [line for line in outcome.out.splitlines() if not line.startswith(EXAMPLE)]
    assert max(map(len, text)) <= 40


def test_version_is_that_of_the_package(run):
    from importlib.metadata import version

    assert run("--version").out == f"convmill {version('convmill')}\n"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["trian"], "train"),
        (["train", "--epoch-s", "3"], "--epochs"),
        (["train", "--optimizer", "rmspop"], "rmsprop"),
        (["train", "--data", "mnits"], "mnist"),
        (["data", "fetch", "fashion-mnits"], "fashion_mnist"),
        (["data", "check", "digit"], "digits"),
        (["data", "lsit"], "list"),
        (["evaluate", "--treads", "2"], "--threads"),
    ],
)
def test_a_misspelt_word_names_the_nearest(run, arguments, nearest):
    outcome = run(*arguments)
    assert outcome.code == USAGE
    assert outcome.out == ""
    assert "Error: " in outcome.err
    assert nearest in outcome.err.partition("Error: ")[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", 0),
        ("--epochs", "many"),
        ("--batch-size", 0),
        ("--batch-size", -1),
        ("--threads", 0),
        ("--threads", 10_000),
        ("--seed", -1),
        ("--seed", 2**32),
    ],
)
def test_numbers_out_of_range_are_refused(run, option, value):
    outcome = run("train", "--data", "digits", option, value)
    assert outcome.code == USAGE
    assert f"'{option}': It must be a whole number " in outcome.err
    assert f"Received: {value}\n" in outcome.err


def test_out_that_exists_needs_force(run, tmp_path):
    out = tmp_path / "old.keras"
    out.write_bytes(b"what I had")
    outcome = run("train", "--data", "digits", "--out", out)
    assert outcome.code == USAGE
    assert "--force" in outcome.err
    assert out.read_bytes() == b"what I had"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/model.keras", "no folder"),
        ("model.h5", ".keras"),
        ("folder.keras", "is a folder"),
        ("file/model.keras", "no folder"),
    ],
)
def test_out_is_checked_before_anything_else(run, tmp_path, name, said):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "file").touch()
    outcome = run("train", "--data", "digits", "--out", tmp_path / name)
    assert outcome.code == USAGE
    assert said in outcome.err


def test_out_in_a_folder_that_takes_no_files(run, tmp_path, monkeypatch):
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    outcome = run("train", "--data", "digits", "--out", tmp_path / "model.keras")
    assert outcome.code == USAGE
    assert "takes no new files: Permission denied" in outcome.err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing.keras", "no file"),
        ("missing.py:build", "no file"),
        ("net.py", "net.py:FUNCTION"),
        ("net.py:", "cannot be the name"),
        ("net.py:a b", "cannot be the name"),
        ("notes.txt", "FILE.keras or SCRIPT.py:FUNCTION"),
        (".", "is a folder"),
    ],
)
def test_model_that_is_not_there(run, tmp_path, monkeypatch, model, said):
    monkeypatch.chdir(tmp_path)
    Path("net.py").touch()
    Path("notes.txt").touch()
    outcome = run("train", "--data", "digits", "--model", model)
    assert outcome.code == USAGE
    assert said in outcome.err


@pytest.mark.parametrize("name", ["net.keras", "net.py"])
def test_model_that_cannot_be_read(run, tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.touch()
    opened = Path.open

    def refuse(self: Path, *mode: str) -> object:
        if self == path:  # as where its permissions say so, which root need not mind
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *mode)

    monkeypatch.setattr(Path, "open", refuse)
    source = f"{path}:build" if name.endswith(".py") else path
    for arguments in (["inspect", source], ["train", "--data", "digits", "--model", source]):
        outcome = run(*arguments)
        assert outcome.code == USAGE
        assert f"{path} cannot be read: Permission denied." in outcome.err


@pytest.mark.parametrize("arguments", [["evaluate", "--data", "digits"], ["predict"]])
def test_saved_model_that_is_not_there(run, tmp_path, arguments):
    picture = [tmp_path / "any.png"] if arguments == ["predict"] else []
    for path in (tmp_path / "missing.keras", tmp_path):
        outcome = run(*arguments, path, *picture)
        assert outcome.code == USAGE
        assert str(path) in outcome.err


def test_data_at_a_path_that_is_not_there(run, tmp_path):
    outcome = run("train", "--data", tmp_path / "missing.npz")
    assert outcome.code == USAGE
    assert "missing.npz" in outcome.err


def test_modules_that_cannot_be_read(run, monkeypatch):
    """As where no more files may be opened."""
    refused = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "module.py")
    monkeypatch.setattr(app, "run", Mock(side_effect=refused))
    outcome = run("--help")
    assert outcome.code == 1
    assert outcome.err == "Error: [Errno 24] Too many open files: 'module.py'\n"
