"""Tiny data sets and a way to run commands as the shell does, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convmill.cli import main
from tests.cli.lines import arrays


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; no failure may ever show a traceback."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz file with 96 images of lines to learn from and 24 to test on."""
    path = tmp_path_factory.mktemp("data") / "lines.npz"
    np.savez(path, **arrays())
    return path


@pytest.fixture(scope="session")
def trained(lines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model, trained on the lines and saved by the command line."""
    path = tmp_path_factory.mktemp("model") / "lines.keras"
    arguments = ["train", "--data", lines, "--epochs", 20, "--batch-size", 16, "--seed", 1]
    assert main([str(each) for each in [*arguments, "--optimizer", "adam", "--out", path]]) == 0
    return path
