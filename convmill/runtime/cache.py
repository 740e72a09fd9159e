"""Native code on disk (``kept.py``): what one process has compiled, the next ones load.

A file is named by a hash of all that its code was made from: the lowered net, the processor, LLVM,
and our own source. It begins with a hash of what follows, so that a damaged one is noticed. Files
appear whole or not at all. A cache that cannot be read or written costs time, never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from convmill import settings, storage
from convmill.lower.machine import Machine
from convmill.lower.network import Network
from convmill.printing import say
from convmill.runtime import machine_code

MOST_BYTES = 256 << 20  # of all files; those that were not used for longest go first
ENDING = ".code"
DIGEST = hashlib.sha256().digest_size
SOURCES = ("plan", "lower", "kernels", "runtime")  # our folders that code depends on


def is_kept() -> bool:
    """Whether there shall be a cache; else nobody need ask for a name."""
    return settings.cache_folder() is not None


def name_of(network: Network, machine: Machine, training: bool, guard: int) -> str:
    """A name for the code of a lowered net, which another process finds as well."""
    made_from = (network, machine, training, guard, machine_code.compiler(), _own_source())
    return hashlib.sha256(repr(made_from).encode()).hexdigest()


@cache
def _own_source() -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(_sources(package)):
        with open(path, "rb") as file:
            digest.update(path[len(str(package)) :].encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()


def _sources(package: Path) -> Iterator[str]:
    """The paths of all our files that code depends on."""
    for top in SOURCES:
        for folder, _, names in os.walk(package / top):
            yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def load(name: str) -> bytes | None:
    """The code of that name, as it was kept; None where there is none. A file that is damaged, or
    that others than the user may have written, is passed over with a line that says so."""
    folder = settings.cache_folder()
    if folder is None:
        return None
    path = folder / f"{name}{ENDING}"
    try:
        if not is_ours(folder) or not is_ours(path):
            _say(f"{path} may have been written by others, and is not used.")
            return None
        content = path.read_bytes()
    except OSError:
        return None
    code = content[DIGEST:]
    if not code or hashlib.sha256(code).digest() != content[:DIGEST]:
        _say(f"{path} is damaged; the net is compiled anew.")
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the last use
    return code


def keep(name: str, code: bytes) -> None:
    """Keeps code for other processes, unless there is no place for it."""
    folder = settings.cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with storage.replacing(folder / f"{name}{ENDING}") as new:
            new.touch(mode=0o600)
            new.write_bytes(hashlib.sha256(code).digest() + code)
        _make_room(folder)


def is_ours(path: Path) -> bool:
    """Whether nobody but the user may write there: code is run as the user."""
    state = path.stat()
    return os.name == "nt" or (state.st_uid == os.geteuid() and not state.st_mode & 0o022)


def _make_room(folder: Path) -> None:
    """Removes what was not used for longest."""
    files = [(path.stat(), path) for path in folder.glob(f"[!.]*{ENDING}")]
    total = sum(state.st_size for state, _ in files)
    for state, path in sorted(files, key=lambda each: each[0].st_mtime_ns):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= state.st_size


def _say(text: str) -> None:
    say(f"convmill: {text}", sys.stderr)
