"""Where the system gives no threads, or fewer than were wanted, work is done all the same."""

from __future__ import annotations

import _thread
import errno
import multiprocessing
import os
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from convmill import models
from convmill.data import download as download_module
from convmill.data.download import download
from convmill.datasets import folder
from convmill.study import experiment
from convmill.threads import mapped
from tests.data.tiny import Server, Tiny
from tests.study.tables import small
from tests.threads import PATIENCE


@pytest.fixture(params=[0, 1])
def few(monkeypatch, request):
    """Only so many threads can be started from here on."""
    left = [request.param]

    def start(*given, **named):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return _thread.start_new_thread(*given, **named)

    monkeypatch.setattr(threading, "_start_new_thread", start)


def test_all_is_done_in_order(few):
    assert mapped(lambda item: item * 2, range(50), 4) == list(range(0, 100, 2))


def test_what_a_task_raises_is_raised(few):
    def fail(item):
        raise RuntimeError(f"no {item}")

    with pytest.raises(RuntimeError, match="no 0"):
        mapped(fail, range(3), 4)


def test_ctrl_c_does_not_wait_for_the_tasks_at_hand():
    begun, may_end, done = threading.Event(), threading.Event(), []

    def task(item):
        if not begun.is_set():
            begun.set()
            _thread.interrupt_main()
        may_end.wait(PATIENCE)
        done.append(item)

    try:
        with pytest.raises(KeyboardInterrupt):
            mapped(task, range(50), 2)
        assert not done
    finally:
        may_end.set()


def test_a_folder_of_images_is_read(few, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (3, 2)).save(tmp_path / name / "0.png")
    x, _ = folder(tmp_path, image_size=(2, 3), workers=3, verbose=False)[0]
    assert x.shape == (2, 2, 3, 3)


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 4), index, np.float32), np.full((2, 1), index % 2, np.float32)


@pytest.mark.parametrize("processes", [False, True])
def test_batches_are_read_where_no_worker_can_be_started(few, processes):
    def weights(workers):
        model = models.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid", False)])
        model.set_weights([np.full((4, 1), 0.1, np.float32)])
        model.compile("sgd", "mse")
        data = Rows(workers=workers, use_multiprocessing=processes and workers > 0)
        model.fit(data, shuffle=False, verbose=0, validation_data=data)
        return model.get_weights()[0]

    with pytest.warns(RuntimeWarning, match="The 2 workers of Rows could not be started"):
        found = weights(2)
    np.testing.assert_array_equal(found, weights(0))


@pytest.mark.parametrize("processes", [0, 1])
def test_runs_of_a_study_are_made_here_where_no_process_can_be_started(
    monkeypatch, tmp_path, processes
):
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend import fork_exec

    get_reusable_executor().shutdown(kill_workers=True)  # of other tests
    children = set(multiprocessing.active_children())
    expected, _ = experiment.carry_out(small(tmp_path), folder=tmp_path / "a", workers=1)
    refused = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    original, left = fork_exec.fork_exec, [processes]

    def start(*given, **named):
        if not left[0]:
            raise refused
        left[0] -= 1
        return original(*given, **named)

    monkeypatch.setattr(fork_exec, "fork_exec", start)
    with pytest.warns(RuntimeWarning, match="2 processes were wanted and could not be started"):
        found, _ = experiment.carry_out(small(tmp_path), folder=tmp_path / "b", workers=2)
    for child in set(multiprocessing.active_children()) - children:
        child.join(PATIENCE)
        assert child.exitcode is not None
    assert [arm.summaries for arm in found.arms] == [arm.summaries for arm in expected.arms]


def test_a_data_set_is_fetched(monkeypatch, tmp_path):
    tiny, server = Tiny(tmp_path), Server()
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))

    class Refused(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(download_module, "threading", SimpleNamespace(Thread=Refused))
    try:
        assert download(known, tmp_path / "cache").read_bytes() == tiny.npz
    finally:
        server.stop()
