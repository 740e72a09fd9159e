"""``convmill bench`` finds the benchmark and becomes it; nothing is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convmill.cli.bench import benchmark_folder

ROOT = Path(__file__).parents[2]
FAILED = 1


@pytest.fixture
def became(monkeypatch):
    """What the process would have been replaced by: its command and its environment."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda path, *told: calls.append(told))
    return calls


def test_the_benchmark_lies_in_a_wheel_or_beside_a_checkout(tmp_path):
    assert benchmark_folder(ROOT / "convmill") == ROOT
    package = tmp_path / "site-packages" / "convmill"
    package.mkdir(parents=True)
    assert benchmark_folder(package) is None
    (package / "bench" / "benchmarks" / "workers").mkdir(parents=True)
    assert benchmark_folder(package) == package / "bench"


def test_it_takes_this_python_and_what_it_was_told(run, became, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    run("bench", "--nets", "gap", "--json", "here.json")
    ((command, environment),) = became
    assert command[-6:] == [
        *("--peers-python", sys.executable, "--nets", "gap", "--json", "here.json")
    ]
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "elsewhere"]


def test_without_a_benchmark_it_says_so(run, became, monkeypatch):
    monkeypatch.setattr("convmill.cli.bench.benchmark_folder", lambda package: None)
    outcome = run("bench")
    assert (outcome.code, outcome.out, became) == (FAILED, "", [])
    assert "This installation has no benchmark" in outcome.err


@pytest.mark.parametrize("arguments", [["--help"], ["--nets", "lenet"]])
def test_the_command_is_the_benchmark(tmp_path, arguments):
    (tmp_path / "benchmarks.py").write_text("raise SystemExit('somebody else')")
    found = subprocess.run(
        [sys.executable, "-m", "convmill", "bench", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "Usage: convmill bench [OPTIONS]" in found.stdout + found.stderr
    if arguments == ["--help"]:
        assert found.returncode == 0
        assert "--peers-python" in found.stdout
        assert "--repeats N " in found.stdout
        assert "RANGE" not in found.stdout
    else:
        assert found.returncode == 2
        assert "Did you mean 'lenet-5'?" in found.stderr
