"""A training that is killed and started again leaves what one leaves that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.robust.killed import train

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")


def left_by(result):
    with np.load(result) as found:
        arrays = {name: found[name] for name in found.files}
    return arrays | {"log": Path(f"{result}.csv").read_text()}


def kill_behind(number, start, folder, result):
    """Kills a run while it goes on behind the checkpoint of a number."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tests.robust.killed", str(folder), str(result), str(number)]
    child = start(command, **pipes)
    for line in child.stdout:
        if line == f"checkpoint-{number:08}.zip\n":
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not result.exists()


@pytest.mark.parametrize("numbers", [(6,), pytest.param((1, 3, 8), marks=pytest.mark.long)])
def test_a_killed_run_goes_on_to_the_same_end(start, tmp_path, numbers):
    whole, result = tmp_path / "whole.npz", tmp_path / "result.npz"
    train(tmp_path / "a", whole)
    expected = left_by(whole)
    for number in numbers:
        kill_behind(number, start, tmp_path / "b", result)
    train(tmp_path / "b", result)
    found = left_by(result)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert not [name for name in os.listdir(tmp_path / "b") if name.startswith(".")]
