"""Calls over and over, several threads, processes and a server: the short form of ``make load``."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from convmill import models
from tests.robust import load
from tests.robust.crowd import different_models, same_model
from tests.robust.server import answers
from tests.train.nets import counter

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600
LONG = pytest.mark.long
THREADS = [4, pytest.param(2, marks=LONG), pytest.param(8, marks=LONG)]
OBJECTS = 3  # of Python's for each call: that one is kept in each is no leak of a model

pytestmark = pytest.mark.usefixtures("strict")


@pytest.fixture
def strict(monkeypatch):
    """A fallback to Keras is an error."""
    monkeypatch.setenv("CONVMILL_STRICT", "1")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' /proc")
@pytest.mark.parametrize(
    "kind", ["train_on_batch", "predict", "predict_on_batch", "evaluate", "fit", "equal models"]
)
def test_nothing_is_kept_of_a_call(kind):
    """Threads, open files and objects behind many calls are those behind a few."""
    work, times = load.KINDS[kind][0](), 12
    for _ in range(3):
        work()
    before = load.held()
    for _ in range(times):
        work()
    after = load.held()
    assert after.files == before.files
    assert after.threads == before.threads
    assert after.objects - before.objects < OBJECTS * times


def test_a_model_that_is_dropped_is_gone():
    """Its Program as well, with the weights and the records of a batch."""
    from convmill.train.session import session

    model = load.net()
    x, y = load.data()
    model.fit(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.predict_on_batch(x[:4])
    model.train_on_batch(x[:4], y[:4])
    programs = [loaded.program for loaded, *_ in session(model)._made.values()]
    gone = [weakref.ref(one) for one in (model, *programs)]
    assert len(gone) > 1
    del model, programs
    gc.collect()
    assert [one() for one in gone] == [None] * len(gone)


@pytest.mark.parametrize("threads", THREADS)
def test_threads_on_one_model(threads):
    same_model(counter(models.Sequential), threads, 5)


@pytest.mark.parametrize("threads", THREADS)
def test_threads_on_a_model_each(threads):
    different_models(threads, 1)


def test_a_server_with_a_thread_for_each_request():
    answers(load.net(), load.data()[0], 4, 5)


@pytest.mark.long  # tests/train/test_turns.py has a fork
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(("kind", "results"), [("fork", 2), ("spawn", 2), ("joblib", 3)])
def test_other_processes_find_the_same(kind, results):
    """A model that is inherited, or pickled: predictions and training, bit for bit."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.robust.processes", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == f"{results}\n", done.stderr
