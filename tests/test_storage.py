"""Files are written whole or not at all, and what a killed process was writing is removed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from convmill import storage

WRITING = """
import sys, time
from convmill import storage

def fill(file):
    file.write(b"new" * 1000)
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()

storage.write(sys.argv[1], fill)
"""


def test_the_old_file_stays_while_a_new_one_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with storage.replacing(path) as new:
        new.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_what_a_killed_process_was_writing_goes_with_the_next_file(tmp_path, start):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = start([sys.executable, "-c", WRITING, str(path)], **pipes)
    assert child.stdout.readline() == b"writing\n"
    assert len(os.listdir(tmp_path)) == 2
    storage.write(tmp_path / "other", lambda file: None)
    assert len(os.listdir(tmp_path)) == 3  # it lives: what it writes stays
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert path.read_bytes() == b"old"
    storage.write(path, lambda file: file.write(b"new"))
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]
    assert path.read_bytes() == b"new"


def test_a_process_removes_what_one_of_its_own_number_left(tmp_path):
    with storage.replacing(tmp_path / "file") as new:
        new.touch()
        left = new.with_name(new.name.replace(new.name[-12:], "0" * 12))
        left.touch()
        foreign = new.with_name(".convmill-00000000-1-000000000000")  # of another machine
        foreign.touch()
        storage.write(tmp_path / "other", lambda file: None)
        assert new.exists()
        assert not left.exists()
    assert sorted(os.listdir(tmp_path)) == [foreign.name, "file", "other"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device\. The file that was there is as"):
        storage.write(path, full)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
