"""HDF5 files without a checksum are read by another process first."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from convmill import models
from convmill.train import foreign


def net(make):
    return make([keras.Input((3,)), layers.Dense(2)])


@pytest.fixture(params=["net.h5", "net.weights.h5"])
def path(request, tmp_path):
    """A file that Keras has written."""
    path, model = tmp_path / request.param, net(keras.Sequential)
    model.compile("sgd", "mse")
    (model.save_weights if "weights" in path.name else model.save)(path)
    return path


def read(path):
    if "weights" in path.name:
        net(models.Sequential).load_weights(path)
    else:
        models.load_model(path, compile=False)


def walker(tmp_path, text, monkeypatch):
    """Another program stands for HDF5's library."""
    program = tmp_path / "walk.py"
    program.write_text(text)
    monkeypatch.setattr(foreign, "_WALK", program)


def test_what_the_library_can_read_is_read(path, monkeypatch):
    codes = []
    run = foreign.subprocess.run

    def counted(*args, **kwargs):
        codes.append(run(*args, **kwargs).returncode)
        return foreign.subprocess.CompletedProcess(args, codes[-1])

    monkeypatch.setattr(foreign.subprocess, "run", counted)
    read(path)
    assert codes == [0]


def test_a_file_with_which_the_library_does_not_end_is_refused(path, tmp_path, monkeypatch):
    walker(tmp_path, "while True: pass", monkeypatch)
    monkeypatch.setattr(foreign, "HANG", 1)  # however long: it never ends
    with pytest.raises(ValueError, match="is damaged: HDF5's library has not ended in 1 seconds"):
        read(path)


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="no alarms")
def test_the_reading_ends_by_itself_when_nobody_waits_for_it(tmp_path):
    """As where the process that has started it was killed."""
    os.mkfifo(tmp_path / "never.h5")  # whose opening waits for ever
    command = [sys.executable, "-I", str(foreign._WALK), str(tmp_path / "never.h5"), "1"]
    assert subprocess.run(command, check=False).returncode == foreign._ALARM


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_file_over_which_the_library_dies_is_refused(path, tmp_path, monkeypatch):
    walker(tmp_path, f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})", monkeypatch)
    with pytest.raises(ValueError, match=r"is damaged: HDF5's library broke down over it"):
        read(path)


@pytest.mark.parametrize("program", ["raise ImportError('no h5py')", None])
def test_where_nothing_can_be_found_out_it_is_read(path, program, tmp_path, monkeypatch):
    if program is None:
        monkeypatch.setattr(foreign.sys, "executable", str(tmp_path / "no python"))
    else:
        walker(tmp_path, program, monkeypatch)
    read(path)


def test_what_convmill_has_written_needs_no_such_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign.subprocess, "run", None)  # what is called fails
    model = net(models.Sequential)
    model.compile("sgd", "mse")
    for name in ("net.h5", "net.weights.h5", "net.keras"):
        write = model.save_weights if "weights" in name else model.save
        write(tmp_path / name)
        read(tmp_path / name)
    found = models.load_model(tmp_path / "net.h5", compile=False).get_weights()
    np.testing.assert_array_equal(found[0], model.get_weights()[0])
