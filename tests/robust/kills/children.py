"""New processes that write, and are killed, or that look at what is left.

They are forked from a server that has imported all that they need, so that they begin at once. It
has computed nothing by JAX, whose threads no fork would have.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.conftest import PATIENCE
from tests.robust.kills.code import CODE
from tests.robust.kills.kinds import KINDS

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
WELL = ""  # what a child says, where it is not an error's text

Child = tuple[BaseProcess, Connection]


class Wrong(Exception):
    """What a child has done, or has found, that is not right."""


def kill(kind: str, folder: Path, chance: random.Random) -> bool:
    """Starts a process that writes into a folder, and kills it at a moment that chance gives.

    Whether it was still writing. Raises ``Wrong`` where it could not write, or where what it has
    started goes on without it.
    """
    with _forked(_write, kind, folder) as (process, receiver):
        _hear(receiver)
        process.join(chance.uniform(0, KINDS[kind].seconds))  # any moment will do
        process.kill()
        process.join()
        _hear_the_end(receiver)
        if process.exitcode not in (0, -signal.SIGKILL):
            raise Wrong(f"it ended with {process.exitcode}")
        return process.exitcode != 0


def check(kind: str, folder: Path) -> None:
    """Another process looks at what is left, and writes as well. Raises ``Wrong``."""
    with _forked(_check, kind, folder) as (_, receiver):
        _hear(receiver)


@contextmanager
def _forked(
    work: Callable[[str, Path, Connection], None], kind: str, folder: Path
) -> Iterator[Child]:
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=work, args=(kind, folder, sender))
    process.start()
    sender.close()
    try:
        yield process, receiver
    finally:
        process.kill()
        process.join()
        receiver.close()


def _hear(receiver: Connection) -> None:
    if not receiver.poll(PATIENCE):
        raise Wrong(f"it has said nothing for {PATIENCE} s")
    try:
        said = receiver.recv()
    except EOFError:
        raise Wrong("it ended without a word") from None
    if said != WELL:
        raise Wrong(said)


def _hear_the_end(receiver: Connection) -> None:
    """Waits until a process has ended that was killed, and all that it has started."""
    if not receiver.poll(PATIENCE):
        raise Wrong(f"what it has started goes on, {PATIENCE} s later")
    try:
        raise Wrong(receiver.recv())
    except EOFError:
        pass


def _write(kind: str, folder: Path, sender: Connection) -> None:
    os.dup2(sender.fileno(), 0)  # what it starts has it as its standard input, and reads nothing
    with _working(sender, folder):
        for number, _ in enumerate(KINDS[kind].write(folder)):
            if number == 0:
                sender.send(WELL)


def _check(kind: str, folder: Path, sender: Connection) -> None:
    with _working(sender, folder):
        assert len(_unfinished(folder)) <= 1, os.listdir(folder)
        KINDS[kind].check(folder)
        assert not _unfinished(folder), os.listdir(folder)
        sender.send(WELL)


def _unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


@contextmanager
def _working(sender: Connection, folder: Path) -> Iterator[None]:
    """Code is kept in the folder, so that it is compiled once; an error is told to the parent."""
    os.environ["CONVMILL_CACHE"] = str(folder / CODE)
    try:
        yield
    except BaseException:
        sender.send(traceback.format_exc())
        sys.exit(1)
