"""The command as a process of its own: pipes, signals, full disks, a quick start."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "import sys; from convmill.cli import main; sys.exit(main())"]
PATIENCE = 600  # seconds that a process may take
INTERRUPTED = 130
FAILED = 1
USAGE = 2
HEAVY = {"keras", "jax", "numpy", "llvmlite", "sklearn", "PIL", "matplotlib", "rich"}


def ended(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    """A process that has run to its end, and what it wrote."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, text=True, check=False, timeout=PATIENCE, **options)


def finished(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    result = ended([*COMMAND, *map(str, arguments)], **options)
    assert "Traceback" not in (result.stderr or "")
    assert "Exception ignored" not in (result.stderr or "")
    return result


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["show", "patch", "--help"], ["train", "--epochs", "0"]],
)
def test_help_and_wrong_usage_wait_for_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from convmill.cli import main\n"
        f"main({arguments!r})\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    result = ended([sys.executable, "-c", code])
    assert result.returncode == 0, result.stderr


def test_the_script_is_installed():
    script = Path(sys.executable).with_name("convmill")
    result = ended([str(script), "--version"])
    assert result.returncode == 0
    assert result.stdout.startswith("convmill ")


def test_a_reader_that_leaves():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        result = finished("data", "list", stdout=pipe)
    assert result.returncode == FAILED
    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_output_to_a_full_disk():
    with open("/dev/full", "w") as full:
        result = finished("data", "list", stdout=full)
    assert result.returncode == FAILED
    assert "No space left on device" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_errors_that_cannot_be_told(tmp_path):
    nothing = {**os.environ, "KERAS_HOME": str(tmp_path), "CONVMILL_DATA": ""}
    with open("/dev/full", "w") as full:
        assert finished("data", "lsit", stderr=full).returncode == USAGE
        assert finished("data", "check", "mnist", stderr=full, env=nothing).returncode == FAILED


def in_shell(preparation: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a shell that was prepared by a line of its own language."""
    return ended(["sh", "-c", f'{preparation}; exec "$@"', "sh", *COMMAND, *map(str, arguments)])


def test_closed_output():
    result = in_shell("exec >&-", "data", "list")
    assert result.returncode == 0
    assert result.stderr == ""


def test_saving_to_a_full_disk_leaves_the_old_file(lines, tmp_path):
    out = tmp_path / "model.keras"
    out.write_bytes(b"what I had")
    arguments = ["train", "--data", lines, "--epochs", "1", "--out", out, "--force"]
    # As on a full disk, no file may grow beyond 40 blocks of 512 bytes.
    result = in_shell("ulimit -f 40", *arguments)
    assert "Traceback" not in result.stderr
    assert result.returncode == FAILED
    assert f"Error: {out} could not be written: " in result.stderr
    assert "The file that was there is as it was." in result.stderr
    assert out.read_bytes() == b"what I had"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_ctrl_c_in_training(start, lines, tmp_path):
    out = tmp_path / "model.keras"
    out.write_bytes(b"what I had")
    command = [*COMMAND, "train", "--data", lines, "--epochs", "100000", "--out", out, "--force"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start([str(each) for each in command], text=True, **pipes)
    for line in process.stdout:
        if line.startswith("Epoch 2/"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == INTERRUPTED
    assert "Traceback" not in errors
    assert errors.endswith("Stopped.\n")
    assert out.read_bytes() == b"what I had"
    assert os.listdir(tmp_path) == ["model.keras"]


LOUD = """
import os, signal, threading

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # Python can raise nothing here

def swallowed():
    Last()
    threading.Event().wait()

def through_exec():
    exec("raise KeyboardInterrupt")  # by which Python would end itself by the signal

def twice():
    try:
        raise KeyboardInterrupt
    finally:
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("function", ["swallowed", "through_exec", "twice"])
def test_ctrl_c_anywhere(tmp_path, function):
    (tmp_path / "net.py").write_text(LOUD)
    result = finished("inspect", f"{tmp_path / 'net.py'}:{function}")
    assert result.returncode == INTERRUPTED
    assert result.stdout == ""
    assert result.stderr.strip() == "Stopped."


def on_a_terminal(start, columns: int, *arguments: object) -> str:
    """What a terminal of that width shows of a command."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    command = [*COMMAND, *map(str, arguments)]
    process = start(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    # Linux says with an error that nobody writes to a terminal any more.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() in (0, USAGE)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("arguments", [["data", "list"], ["train", "--epocs", "3"]])
def test_lines_fit_a_narrow_terminal(start, arguments, monkeypatch, tmp_path):
    monkeypatch.delenv("CONVMILL_DATA", raising=False)  # its path may be any length
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    shown = on_a_terminal(start, 40, *arguments)
    assert max(map(len, shown.splitlines())) <= 40
    assert "\x1b" not in shown


def test_no_colours_without_a_terminal(lines):
    result = finished("train", "--data", lines, "--epochs", "1")
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "\b" not in result.stdout
