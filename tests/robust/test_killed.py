"""A training that is killed and started again leaves what one leaves that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.robust.killed import assert_same_end, train

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")


def stopped_behind(number, start, folder, result):
    """A run that goes on behind the checkpoint of a number, but not to the one after the next."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tests.robust.killed", str(folder), str(result), str(number)]
    child = start(command, **pipes)
    for line in child.stdout:
        if line == f"checkpoint-{number:08}.zip\n":
            return child
    raise AssertionError("the run has ended")


@pytest.mark.parametrize("numbers", [(6,), pytest.param((1, 3, 8), marks=pytest.mark.long)])
def test_a_killed_run_goes_on_to_the_same_end(start, tmp_path, numbers):
    whole, result = tmp_path / "whole.npz", tmp_path / "result.npz"
    train(tmp_path / "a", whole)
    for number in numbers:
        child = stopped_behind(number, start, tmp_path / "b", result)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert not result.exists()
    train(tmp_path / "b", result)
    assert_same_end(result, whole)
    assert not [name for name in os.listdir(tmp_path / "b") if name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_end_writes_a_last_checkpoint(start, tmp_path, number):
    whole, result = tmp_path / "whole.npz", tmp_path / "result.npz"
    child = stopped_behind(2, start, tmp_path / "b", result)
    child.send_signal(number)
    written, _ = child.communicate()  # which lets it go on
    assert written.startswith("checkpoint-00000003.zip\n")
    assert child.returncode == -number
    train(tmp_path / "a", whole)
    train(tmp_path / "b", result)
    assert_same_end(result, whole)
