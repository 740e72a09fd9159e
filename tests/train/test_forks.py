"""Forks while a model is trained or compiled: the child works, ends, or says what it cannot do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")  # JAX and Python warn of forks in processes of several threads
import keras, numpy as np
from convmill import models
from tests.train.nets import compiled, convnet, images

x, y = images()
model = compiled(convnet(models.Sequential))

def ended(child):
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# The child compiles what it has no code for, while another thread of its parent was compiling.
COMPILING = """
from convmill.runtime import machine_code

plain = machine_code.object_code
begun, may_end = threading.Event(), threading.Event()

def slow(*given):
    begun.set()
    may_end.wait()
    return plain(*given)

model.predict(x, verbose=0)
machine_code.object_code = slow
training = threading.Thread(target=lambda: model.fit(x, y, verbose=0))
training.start()
begun.wait()
threading.Timer(0.1, may_end.set).start()
child = os.fork()
if child == 0:
    machine_code.object_code = plain
    found = models.Sequential(model.layers[:2]).predict(x, verbose=0)
    os._exit(7 if found.shape[0] == len(x) else 1)
ended(child)
training.join()
"""
# Another thread forks in the midst of native steps; the child is told to end by Ctrl-C.
STEPPING = """
from convmill.runtime.program import Program

child = []

def forked():
    child.append(os.fork())
    if child[0] == 0:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            found = model.predict(x, verbose=0)
            os._exit(7 if np.isfinite(found).all() else 1)
        os._exit(2)

plain = Program.train

def train(self, batches, *args, watch=None, **options):
    def watching(record):
        if not child:
            other = threading.Thread(target=forked)
            other.start()
            other.join()
        watch(record)
    return plain(self, batches, *args, watch=watching, **options)

model.fit(x, y, verbose=0)
Program.train = train
many = np.resize(x, (20_000, *x.shape[1:])), np.resize(y, (20_000, 3))
model.fit(*many, batch_size=1, verbose=0)
ended(child[0])
"""
# A child that goes on with its parent's training, of which the thread is not there.
READING = """
class Pictures(keras.utils.PyDataset):
    child, forks = None, False

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 30 and self.forks:
            Pictures.child = os.fork()
        return x, y

model.fit(Pictures(), shuffle=False, verbose=0)  # all that JAX compiles is there
Pictures.forks = True
try:
    model.fit(Pictures(), epochs=1, shuffle=False, verbose=0)
except RuntimeError as error:
    os._exit(7 if "forked" in str(error) else 1)
if Pictures.child == 0:
    os._exit(7)  # nothing was being trained just then
ended(Pictures.child)
"""
# What multiprocessing does at the end of a pool: its children are ended by SIGTERM.
ASKED_TO_END = """
from convmill.callbacks import Checkpoint

class Fork(keras.callbacks.Callback):
    def on_{moment}_begin(self, number, logs=None):
        if number:
            return
        ready, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, b"x")
            while True:
                signal.pause()
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        ended(child)

    def get_state(self):
        return None

model.fit(x, y, callbacks=[Checkpoint(sys.argv[1], every="1 steps"), Fork()], verbose=0)
print(sorted(os.listdir(sys.argv[1])))
"""


def printed(code, *given):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, *map(str, given)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("code", [COMPILING, STEPPING, READING], ids=["compile", "step", "read"])
def test_a_child_never_waits_for_threads_of_its_parent(code):
    assert printed(code) == ["7"]


@pytest.mark.parametrize("moment", ["epoch", "train_batch"])
def test_a_child_of_a_checkpointed_run_ends_when_it_is_asked_to(moment, tmp_path):
    code = ASKED_TO_END.replace("{moment}", moment)
    said = printed(code, tmp_path)
    assert said[0] == str(-signal.SIGTERM)
    assert "checkpoint-00000003.zip" in said[1]
