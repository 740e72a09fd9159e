"""Downloads from good and bad servers on loopback."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from convmill.data import DataError
from convmill.data import download as download_module
from convmill.data.download import Limits, MirrorFailed, download
from convmill.data.files import KnownSet, Mirror
from convmill.data.sources import read_arrays
from tests.data.tiny import Answer, Server, Tiny, sends

PATIENT = Limits(answer_seconds=600, silence_seconds=600)
HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
FETCH_IN_ANOTHER_PROCESS = """
import pickle, sys
from pathlib import Path
from convmill.data.download import download
from convmill.data.sources import read_arrays
known = pickle.loads(Path(sys.argv[1]).read_bytes())
read_arrays(known, download(known, Path(sys.argv[2])))
"""


def files_in(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def start_fetch(known: KnownSet, folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    pickled = folder / "known.pickle"
    pickled.write_bytes(pickle.dumps(known))
    command = [sys.executable, "-c", FETCH_IN_ANOTHER_PROCESS, str(pickled), str(cache)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody answers on; bound, so that nobody else takes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_npz_into_the_cache(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))
    place = download(known, tmp_path / "new" / "cache", PATIENT)
    assert place == tmp_path / "new" / "cache" / "tiny.npz"
    assert place.read_bytes() == tiny.npz
    assert files_in(place.parent) == ["tiny.npz"]


def test_idx_into_the_cache(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    known = tiny.with_mirrors(server.serve_idx(tiny.packed))
    place = download(known, tmp_path, PATIENT)
    assert place == tmp_path / "tiny"
    assert files_in(place) == sorted(f"{file.name}.gz" for file in known.files)
    for got, wanted in zip(read_arrays(known, place), tiny.arrays, strict=True):
        assert got.tobytes() == wanted.tobytes()


def reset_midway(body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        sends(body[: len(body) // 2], promised=len(body))(handler)
        handler.wfile.flush()
        # Closing with a linger time of 0 sends a reset. The handler's files hold the socket too.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.rfile.close()
        handler.connection.close()

    return answer


def another_set(tiny: Tiny) -> bytes:
    plain = tiny.plain[0]
    return gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1]))


BAD_ANSWERS: dict[str, tuple[Callable[[Tiny], Answer], str]] = {
    "wrong hash": (lambda tiny: sends(another_set(tiny)), r"wrong sha256 \(content\)"),
    "wrong checksum": (lambda tiny: sends(tiny.packed[0][:-8] + bytes(8)), "damaged"),
    "short body": (
        lambda tiny: sends(tiny.packed[0][:-20], promised=len(tiny.packed[0])),
        "cut short: .* of .* bytes",
    ),
    "truncated gzip": (lambda tiny: sends(tiny.packed[0][:-20]), "cut short"),
    "another file": (lambda tiny: sends(b"hello"), "not an IDX file"),
    "HTML page": (lambda tiny: sends(HTML), "an HTML page instead of data"),
    "nothing": (lambda tiny: sends(b""), "not an IDX file"),
    "too much": (lambda tiny: sends(tiny.packed[0] + bytes(5_000)), "more than the .* bytes"),
    "bomb": (lambda tiny: sends(gzip.compress(tiny.plain[0] + bytes(500_000))), "Received: more"),
    "reset midway": (lambda tiny: reset_midway(tiny.packed[0]), "after .* bytes: |cut short"),
    "error 503": (lambda tiny: lambda handler: handler.send_error(503), "HTTP 503"),
}


@pytest.mark.parametrize("kind", list(BAD_ANSWERS))
def test_bad_answer_leaves_nothing_and_the_next_mirror_serves(
    tiny: Tiny, server: Server, tmp_path: Path, kind: str
) -> None:
    bad = server.serve_idx(tiny.packed, "bad")
    make, complaint = BAD_ANSWERS[kind]
    server.answers[f"/bad/{tiny.known.files[0].name}.gz"] = make(tiny)
    with pytest.raises(MirrorFailed, match=complaint) as caught:
        download(tiny.with_mirrors(bad), tmp_path, PATIENT)
    assert str(caught.value).startswith(f"{bad.url}: ")
    assert ".part" not in str(caught.value)
    assert files_in(tmp_path) == []

    known = tiny.with_mirrors(bad, server.serve_idx(tiny.packed, "good"))
    read_arrays(known, download(known, tmp_path, PATIENT))


def test_wrong_hash_of_a_packed_file(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    bodies = [gzip.compress(tiny.plain[0], compresslevel=1), *tiny.packed[1:]]
    known = tiny.hashed_packed(server.serve_idx(bodies))
    with pytest.raises(MirrorFailed, match=r"wrong sha256 \(file\)"):
        download(known, tmp_path, PATIENT)
    assert files_in(tmp_path) == []


def test_files_already_right_are_not_fetched_again(
    tiny: Tiny, server: Server, tmp_path: Path
) -> None:
    first, second = server.serve_idx(tiny.packed, "first"), server.serve_idx(tiny.packed, "second")
    names = [file.name for file in tiny.known.files]
    server.answers[f"/first/{names[2]}.gz"] = sends(HTML)
    download(tiny.with_mirrors(first, second), tmp_path, PATIENT)
    assert server.seen == [
        *(f"/first/{name}.gz" for name in names[:3]),
        *(f"/second/{name}.gz" for name in names[2:]),
    ]


def test_a_wrong_file_in_the_cache_is_kept_aside(
    tiny: Tiny, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "tiny.npz").write_bytes(b"what the user put here")
    place = download(tiny.with_mirrors(server.serve_npz(tiny.npz)), tmp_path, PATIENT)
    assert place.read_bytes() == tiny.npz
    assert (tmp_path / "tiny.npz.wrong").read_bytes() == b"what the user put here"


def test_slow_server_is_given_up(
    tiny: Tiny, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    seconds = itertools.count(step=100)  # pass from one look at the clock to the next
    monkeypatch.setattr(download_module, "time", SimpleNamespace(monotonic=seconds.__next__))

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(tiny.npz)))
        handler.end_headers()
        for byte in tiny.npz:
            handler.wfile.write(bytes([byte]))
            if stop.wait(0.02):
                return

    mirror = server.serve_npz(tiny.npz)
    server.answers["/npz/tiny.npz"] = trickle
    with pytest.raises(MirrorFailed, match="too slow: "):
        download(tiny.with_mirrors(mirror), tmp_path, replace(PATIENT, slowest=1e9))
    stop.set()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("midway", [False, True])
def test_silent_server_is_given_up(
    tiny: Tiny, server: Server, tmp_path: Path, midway: bool
) -> None:
    stop = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        if midway:
            sends(tiny.npz[:100], promised=len(tiny.npz))(handler)
            handler.wfile.flush()
        stop.wait(20)

    mirror = server.serve_npz(tiny.npz)
    server.answers["/npz/tiny.npz"] = hang
    limits = Limits(answer_seconds=20, silence_seconds=0.5)
    with pytest.raises(MirrorFailed, match="no answer in time"):
        download(tiny.with_mirrors(mirror), tmp_path, limits)
    stop.set()
    assert files_in(tmp_path) == []


def test_one_wait_for_all_silent_mirrors(tiny: Tiny, tmp_path: Path) -> None:
    with socket.socket() as listening:  # accepts, and never answers
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        mirrors = [Mirror(f"{url}{number}/", "idx") for number in range(5)]
        waits = Limits(answer_seconds=0.5, silence_seconds=20)
        with pytest.raises(MirrorFailed) as caught:
            download(tiny.with_mirrors(*mirrors), tmp_path, waits)
    lines = str(caught.value).splitlines()
    assert lines == [f"{mirror.url}: no answer in time" for mirror in mirrors]


def test_offline_names_every_mirror(tiny: Tiny, tmp_path: Path, closed_port: int) -> None:
    refusing = Mirror(f"http://127.0.0.1:{closed_port}/", "archive")
    nameless = Mirror("http://nobody.invalid/", "idx")
    with pytest.raises(MirrorFailed) as caught:
        download(tiny.with_mirrors(refusing, nameless), tmp_path, Limits(answer_seconds=5))
    first, second = str(caught.value).splitlines()
    assert first.startswith(refusing.url)
    assert "refused" in first
    assert second.startswith(nameless.url)


def test_two_processes_at_once(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    mirror = server.serve_npz(tiny.npz)
    both = threading.Barrier(2, timeout=600)

    def once_both_ask(handler: BaseHTTPRequestHandler) -> None:
        both.wait()
        sends(tiny.npz)(handler)

    server.answers["/npz/tiny.npz"] = once_both_ask
    cache = tmp_path / "cache"
    running = [start_fetch(tiny.with_mirrors(mirror), tmp_path, cache) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()
    assert len(server.seen) == 2
    assert files_in(cache) == ["tiny.npz"]
    assert (cache / "tiny.npz").read_bytes() == tiny.npz


def test_killed_midway_leaves_the_place_free(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    mirror = server.serve_npz(tiny.npz)
    halfway, stop = threading.Event(), threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        sends(tiny.npz[: len(tiny.npz) // 2], promised=len(tiny.npz))(handler)
        handler.wfile.flush()
        halfway.set()
        stop.wait(600)

    server.answers["/npz/tiny.npz"] = half
    cache = tmp_path / "cache"
    process = start_fetch(tiny.with_mirrors(mirror), tmp_path, cache)
    assert halfway.wait(600)
    process.kill()
    process.communicate(timeout=600)
    stop.set()
    assert not (cache / "tiny.npz").exists()
    server.answers["/npz/tiny.npz"] = sends(tiny.npz)
    assert download(tiny.with_mirrors(mirror), cache, PATIENT).read_bytes() == tiny.npz


def test_interrupt_cleans_up(
    tiny: Tiny, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> Iterator[bytes]:
        yield b"a piece"
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "_pieces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(tiny.with_mirrors(server.serve_npz(tiny.npz)), tmp_path, PATIENT)
    assert files_in(tmp_path) == []


def test_full_disk(
    tiny: Tiny, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "tiny.npz").write_bytes(b"what was there")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="could not be written: No space left on device"):
        download(tiny.with_mirrors(server.serve_npz(tiny.npz)), tmp_path, PATIENT)
    assert files_in(tmp_path) == ["tiny.npz"]
    assert (tmp_path / "tiny.npz").read_bytes() == b"what was there"


def test_cache_that_cannot_be_made(tiny: Tiny, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    known = tiny.with_mirrors(server.serve_npz(tiny.npz))
    with pytest.raises(DataError, match="set KERAS_HOME"):
        download(known, tmp_path / "file" / "datasets", PATIENT)


def test_plain_progress_when_there_is_no_terminal(
    tiny: Tiny, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(tiny.with_mirrors(server.serve_npz(tiny.npz)), tmp_path, PATIENT)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"downloading tiny.npz ({len(tiny.npz):,} bytes) from 127.0.0.1\n"


def test_progress_bar_on_a_terminal(
    tiny: Tiny,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    download(tiny.with_mirrors(server.serve_npz(tiny.npz)), tmp_path, PATIENT)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "tiny.npz from 127.0.0.1" in shown.err
    assert "100%" in shown.err or f"{len(tiny.npz) / 1000:.1f}" in shown.err
