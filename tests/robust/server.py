"""A web server with a thread for each request, which asks one model; several clients."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np

from tests.threads import together


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Writes no line for a request."""

    def log_message(self, *_: object) -> None:
        pass


def application(model: Any) -> Callable[..., Iterable[bytes]]:
    """Predictions for the images in the body, float32 as bytes."""

    def answer(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        images = np.frombuffer(body, np.float32).reshape(-1, *model.input_shape[1:])
        found = model.predict(images, verbose=0).astype(np.float32).tobytes()
        start("200 OK", [("Content-Length", str(len(found)))])
        return [found]

    return answer


def answers(model: Any, x: np.ndarray, clients: int, requests: int) -> None:
    """Each client asks so many times for some images of ``x``, and looks at the answer."""
    whole = model.predict(x, verbose=0)
    server = make_server("127.0.0.1", 0, application(model), Server, Quiet)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()

    def ask(client: int) -> None:
        for number in range(requests):
            first = (7 * client + number) % len(x)
            rows = slice(first, first + 1 + number % 5)
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
            try:
                connection.request("POST", "/", x[rows].tobytes())
                found = np.frombuffer(connection.getresponse().read(), np.float32)
            finally:
                connection.close()
            np.testing.assert_array_equal(found.reshape(-1, whole.shape[1]), whole[rows])

    try:
        together(*(lambda client=client: ask(client) for client in range(clients)))
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
