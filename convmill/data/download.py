"""Fetching a known data set from its mirrors into the cache.

Every file is written under a name of its own beside its place, verified, and put into its place at
once (`storage.replacing`), so that a reader sees all of it or nothing, and two processes that fetch
at once only do the work twice. All mirrors are asked at the start, at the same time, whether they
answer: where there is no network the error comes after `Limits.answer_seconds`, however many
mirrors there are.
"""

from __future__ import annotations

import http.client
import math
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from convmill import storage
from convmill.data.dataset import DataError
from convmill.data.files import IdxFile, KnownSet, Mirror
from convmill.data.progress import shown
from convmill.data.sources import read_archive, read_file

CHUNK = 1 << 16
Response = http.client.HTTPResponse


@dataclass(frozen=True)
class Limits:
    """How long a mirror may take.

    Attributes:
        answer_seconds: until all mirrors together must have answered.
        silence_seconds: between two pieces of a file.
        slowest: bytes per second, on average after the first `silence_seconds`.
    """

    answer_seconds: float = 5.0
    silence_seconds: float = 10.0
    slowest: float = 20_000.0


class MirrorFailed(Exception):
    """This mirror cannot give the file; the next one may."""


@dataclass(frozen=True)
class Job:
    """One file to fetch. verify(folder or file) raises DataError when it is not right."""

    url: str
    target: Path
    max_bytes: int
    verify: Callable[[Path], object]


def download(known: KnownSet, cache: Path, limits: Limits | None = None) -> Path:
    """Fetches all files of `known` from the first mirrors that have them right.

    Returns:
        the archive or the folder in the cache.

    Raises:
        MirrorFailed: no mirror served; its text has a line for each.
        DataError: the cache cannot be written.
    """
    limits = limits or Limits()
    deadline = time.monotonic() + limits.answer_seconds
    answers = [_request(_jobs(known, m, cache)[0].url, "HEAD", limits) for m in known.mirrors]
    try:
        return _first_that_serves(known, cache, limits, answers, deadline)
    finally:
        for answer in answers:
            answer.add_done_callback(_close)


def _first_that_serves(
    known: KnownSet,
    cache: Path,
    limits: Limits,
    answers: list[Future[Response]],
    deadline: float,
) -> Path:
    failures = []
    for mirror, answer in zip(known.mirrors, answers, strict=True):
        try:
            _wait_for_any_answer(answer, deadline - time.monotonic())
            jobs = _jobs(known, mirror, cache)
            for job in jobs:
                if not _already_right(job):
                    _fetch(job, limits)
            return jobs[0].target if mirror.holds == "archive" else jobs[0].target.parent
        except MirrorFailed as failure:
            failures.append(f"{mirror.url}: {failure}")
    raise MirrorFailed("\n".join(failures))


def _jobs(known: KnownSet, mirror: Mirror, cache: Path) -> list[Job]:
    if mirror.holds == "archive":
        assert known.archive is not None
        return [
            Job(
                url=mirror.url + known.archive.name,
                target=cache / known.archive.name,
                max_bytes=known.archive.size,
                verify=partial(read_archive, known),
            )
        ]
    folder = cache / known.cache_folder
    return [
        Job(
            url=f"{mirror.url}{file.name}.gz",
            target=folder / f"{file.name}.gz",
            # Gzip makes nothing longer by more than a few bytes in 1,000.
            max_bytes=1000 + math.prod(file.shape) * 101 // 100,
            verify=partial(read_file, file),
        )
        for file in known.files
        if isinstance(file, IdxFile)
    ]


def _already_right(job: Job) -> bool:
    try:
        job.verify(job.target)
    except DataError:
        return False
    return True


def _fetch(job: Job, limits: Limits) -> None:
    """Fetches one file and puts it in place, verified. A wrong file that lies there is kept
    beside it, with the ending .wrong."""
    target = job.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage.replacing(target) as path:
            _receive(job, path, limits)
            try:
                job.verify(path)
            except DataError as error:
                text = str(error).replace(str(path), target.name)
                raise MirrorFailed(text) from error
            if target.exists() and not _already_right(job):
                os.replace(target, target.with_name(target.name + ".wrong"))
    except OSError as error:
        raise DataError(
            f"{_unwritten(target, error)}\n"
            "Make room or allow writing there, or set KERAS_HOME to a folder where both are."
        ) from error


def _unwritten(target: Path, error: OSError) -> str:
    said = error.strerror or str(error)
    return said if str(target) in said else f"{target} could not be written: {said}."


def _receive(job: Job, path: Path, limits: Limits) -> None:
    """Writes what the mirror sends into a new file."""
    with path.open("xb") as file:
        response = _opened(job.url, limits)
        with response, shown(job.target.name, job.url, response.length) as advance:
            for piece in _pieces(response, job, limits):
                file.write(piece)
                advance(len(piece))
    storage.flush_to_disk(path)  # that the disk has room is known before anything is moved


def _request(url: str, method: str, limits: Limits) -> Future[Response]:
    """Opens `url` in a thread of its own: looking up a host name has no time-out in Python."""
    future: Future[Response] = Future()

    def work() -> None:
        request = urllib.request.Request(url, method=method, headers={"User-Agent": "convmill"})
        try:
            future.set_result(urllib.request.urlopen(request, timeout=limits.silence_seconds))
        except Exception as error:  # carried to the thread that waits
            future.set_exception(error)

    try:
        threading.Thread(target=work, name=f"{method} {url}", daemon=True).start()
    except RuntimeError:  # the system has no thread to give
        work()
    return future


def _wait_for_any_answer(answer: Future[Response], seconds: float) -> None:
    """Returns when the server has answered anything at all: some refuse HEAD, but give files."""
    try:
        answer.result(max(seconds, 0.0))
    except urllib.error.HTTPError:
        pass
    except Exception as error:
        raise MirrorFailed(_in_words(error)) from error


def _opened(url: str, limits: Limits) -> Response:
    answer = _request(url, "GET", limits)
    try:
        return answer.result(limits.silence_seconds)
    except Exception as error:
        answer.add_done_callback(_close)
        raise MirrorFailed(_in_words(error)) from error


def _close(answer: Future[Response]) -> None:
    error = answer.exception()
    if error is None:
        answer.result().close()
    elif isinstance(error, urllib.error.HTTPError):
        error.close()


def _pieces(response: Response, job: Job, limits: Limits) -> Iterator[bytes]:
    """The body, piece by piece; raises MirrorFailed when it is too long, too short, too slow or
    a web page."""
    promised = response.length
    expected = min(promised or job.max_bytes, job.max_bytes)
    deadline = time.monotonic() + limits.silence_seconds + expected / limits.slowest
    received = 0
    while True:
        try:
            piece = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise MirrorFailed(f"after {received:,} bytes: {_in_words(error)}") from error
        if not piece:
            break
        if received == 0 and piece.lstrip()[:5].lower() in (b"<!doc", b"<html"):
            raise MirrorFailed("an HTML page instead of data (does this network ask for a login?)")
        received += len(piece)
        if received > job.max_bytes:
            raise MirrorFailed(f"more than the {job.max_bytes:,} bytes that it may have")
        if time.monotonic() > deadline:
            raise MirrorFailed(f"too slow: {received:,} of {expected:,} bytes when the time was up")
        yield piece
    if promised is not None and received != promised:
        raise MirrorFailed(f"cut short: {received:,} of {promised:,} bytes")


def _in_words(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return _in_words(error.reason)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "host name not found (is there a network?)"
    return str(error) or type(error).__name__
