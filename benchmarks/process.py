"""The benchmark's side of a worker: start it, ask it, end it."""

import json
import selectors
import subprocess
import tempfile
from typing import Any

from benchmarks.peers import Peer, worker_environment

START_TIMEOUT = 300.0
REQUEST_TIMEOUT = 180.0


class WorkerError(Exception):
    """A worker that failed, ended or did not answer; the message is fit for the report."""


def start(peer: Peer, net: str, threads: int) -> "WorkerProcess":
    """A peer's process with its net, trained for a few steps."""
    worker = WorkerProcess(peer, threads)
    try:
        worker.build("start", net)
    except BaseException:
        worker.stop()
        raise
    return worker


class WorkerProcess:
    """A peer's process. Between `ask`s it is blocked on its pipe.

    `versions` are those of its packages, once it has built a net.
    """

    def __init__(self, peer: Peer, threads: int) -> None:
        self.peer, self.threads = peer, threads
        self.versions: dict[str, str] = {}
        python = peer.executable()
        if not python.exists():
            raise WorkerError(
                "the peers' environment is missing: make it with `python -m benchmarks.setup_peers`"
            )
        # It takes what a framework caches on the disk: no run profits from the one before.
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        environment = worker_environment(peer, threads)
        environment["TORCHINDUCTOR_CACHE_DIR"] = self._folder.name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by stop)
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.workers"],
            cwd=peer.root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the benchmark alone, which ends its workers
        )

    def build(self, do: str, net: str, dtype: str = "float32", **request: Any) -> dict[str, Any]:
        """Ask for what begins with importing the framework and building a net; as `ask`."""
        peer = self.peer
        answer = self.ask(
            do,
            START_TIMEOUT,
            net=net,
            threads=self.threads,
            dtype=dtype,
            imports=peer.imports,
            trainer=peer.trainer,
            options=peer.options,
            packages=peer.packages,
            **request,
        )
        self.versions = answer["versions"]
        return answer

    def ask(self, do: str, timeout: float = REQUEST_TIMEOUT, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises WorkerError when the worker fails, ends, or takes longer than `timeout` seconds.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise WorkerError(f"no answer to {do!r} within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}"

    def stop(self) -> None:
        """End the process, gently first."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
            self._process.wait(timeout=5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()
