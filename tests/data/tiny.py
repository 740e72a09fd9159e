"""A tiny data set of the same form as MNIST, and a web server on loopback that serves it well or
badly."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from convmill.data.files import Archive, IdxFile, KnownSet, Mirror
from convmill.data.idx import idx_header, idx_sha256
from convmill.data.known import IDX_NAMES

Answer = Callable[[BaseHTTPRequestHandler], None]


class Tiny:
    """30 training and 12 test images of 6x5, in every form in which a set may lie about."""

    def __init__(self, folder: Path, size: tuple[int, int] = (6, 5)) -> None:
        random = np.random.default_rng(7)
        self.arrays = []
        for count in (30, 12):
            self.arrays.append(random.integers(0, 256, (count, *size), dtype=np.uint8))
            self.arrays.append((np.arange(count) % 3).astype(np.uint8))
        self.plain = [idx_header(each.shape) + each.tobytes() for each in self.arrays]
        self.packed = [gzip.compress(each) for each in self.plain]
        path = folder / "tiny-source.npz"
        names = ("x_train", "y_train", "x_test", "y_test")
        np.savez_compressed(path, **dict(zip(names, self.arrays, strict=True)))
        self.npz = path.read_bytes()
        path.unlink()
        self.known = KnownSet(
            name="tiny",
            title="Tiny",
            class_names=("a", "b", "c"),
            files=tuple(
                IdxFile(name, each.shape, content_sha256=idx_sha256(each))
                for name, each in zip(IDX_NAMES, self.arrays, strict=True)
            ),
            archive=Archive("tiny.npz", len(self.npz), hashlib.sha256(self.npz).hexdigest()),
            cache_folder="tiny",
            mirrors=(),
        )

    def with_mirrors(self, *mirrors: Mirror) -> KnownSet:
        return replace(self.known, mirrors=mirrors)

    def hashed_packed(self, *mirrors: Mirror) -> KnownSet:
        """The same set with hashes of the packed files only, as for Fashion-MNIST."""
        files = tuple(
            replace(file, content_sha256=None, gz_sha256=hashlib.sha256(packed).hexdigest())
            for file, packed in zip(self.known.files, self.packed, strict=True)
        )
        return replace(self.known, files=files, archive=None, mirrors=mirrors)

    def write(self, folder: Path, packed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plain, gz in zip(IDX_NAMES, self.plain, self.packed, strict=True):
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gz if packed else plain)
        return folder


class Server:
    """Serves `answers[path]` on loopback; 404 for the rest. `seen`: the GET requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(200 if self.path in outer.answers else 404)
                self.end_headers()

            def do_GET(self) -> None:
                outer.seen.append(self.path)
                if self.path in outer.answers:
                    outer.answers[self.path](self)
                else:
                    self.send_error(404)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client that leaves early is what many of these tests are about.
        self.http.handle_error = lambda request, address: None  # type: ignore[method-assign]
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def serve_npz(self, body: bytes, folder: str = "npz") -> Mirror:
        self.answers[f"/{folder}/tiny.npz"] = sends(body)
        return Mirror(f"{self.url}{folder}/", "archive")

    def serve_idx(self, bodies: list[bytes], folder: str = "idx") -> Mirror:
        for name, body in zip(IDX_NAMES, bodies, strict=True):
            self.answers[f"/{folder}/{name}.gz"] = sends(body)
        return Mirror(f"{self.url}{folder}/", "idx")

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def sends(body: bytes, promised: int | None = None) -> Answer:
    """Answers with `body`, saying that it is `promised` bytes long (its true length: None)."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if promised is None else promised))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
