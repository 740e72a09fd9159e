"""Files that are written whole or not at all: beside the old one, which they then replace at once.

What is being written lies in the same folder under a name that begins with ``.convmill-``. Such a
file of a process that was killed is removed by whoever writes into that folder next.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

Name = str | os.PathLike[str]

# Host, process and a random number: whose file it is.
_UNFINISHED = re.compile(r"\.convmill-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{12}")
# Those that this process is writing: after a restart another one may have had its number.
_at_work: set[str] = set()


@contextlib.contextmanager
def replacing(path: Name, suffix: str | None = None) -> Iterator[Path]:
    """``with replacing(path) as new:`` where a file is to be made at ``new``; at the end it takes
    the place of ``path`` (of what that leads to, if it is a link), with the old file's mode.

    ``suffix`` is how the name of ``new`` ends, by default like that of ``path``.

    Raises:
        OSError: it cannot be written (no such folder, disk full). The old file is as it was.
    """
    target = Path(os.path.realpath(path))
    _remove_unfinished(target.parent)
    token = f"{os.getpid()}-{secrets.token_hex(6)}"
    name = f".convmill-{_host()}-{token}{target.suffix if suffix is None else suffix}"
    new = target.with_name(name)
    _at_work.add(name)
    try:
        yield new
        if target.exists():
            shutil.copymode(target, new)
        flush_to_disk(new)
        os.replace(new, target)
        flush_to_disk(target.parent)
    except OSError as error:
        kept = " The file that was there is as it was." if target.exists() else ""
        reason = error.strerror or str(error) or type(error).__name__
        raise told(error, f"{path} could not be written: {reason}.{kept}") from error
    finally:
        new.unlink(missing_ok=True)
        _at_work.discard(name)


def told(error: OSError, text: str) -> OSError:
    """The same error in other words; a library's own has no number."""
    if error.errno is None:
        return OSError(text)
    return type(error)(error.errno, text)


def write(path: Name, fill: Callable[[BinaryIO], object]) -> None:
    """Has ``fill`` write a file, which then takes the place of ``path``. Raises as above."""
    with replacing(path) as new, new.open("xb") as file:
        fill(file)


def flush_to_disk(path: Path) -> None:
    """fsync of a file, or of a folder (so that a rename in it lasts)."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _remove_unfinished(folder: Path) -> None:
    """Removes what processes of this machine were writing when they were killed."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _UNFINISHED.match(entry.name)
            if found is not None and _is_left(entry.name, *found.groups()):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _is_left(name: str, host: str, process: str) -> bool:
    """Whether nobody is writing a file of this name any more."""
    if host != _host() or name in _at_work:
        return False
    if int(process) == os.getpid():
        return True
    if os.name == "nt":
        return True  # what is open cannot be removed there
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False
