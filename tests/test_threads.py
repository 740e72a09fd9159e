"""Where the system gives no threads, or fewer than were wanted, work is done all the same."""

from __future__ import annotations

import _thread
import threading
from types import SimpleNamespace

import pytest
from PIL import Image

from convmill.data import download as download_module
from convmill.data.download import download
from convmill.datasets import folder
from convmill.threads import mapped
from tests.data.tiny import Server, Tiny
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
