"""The environment variables that steer convmill, with their types.

They are read at each use, so a program may set them while it runs.

| variable | meaning |
|---|---|
| ``CONVMILL_STRICT`` | 1: what the compiler does not cover is an error, not Keras' own path |
| ``CONVMILL_THREADS`` | threads to compute with; default: one for each core |
| ``CONVMILL_TARGET`` | avx512, avx2, sse4 or neon: no other instructions; default: all there are |
| ``CONVMILL_DATA`` | folder that holds data sets |
| ``CONVMILL_OFFLINE`` | 1: nothing is downloaded |
| ``CONVMILL_CACHE`` | folder for native code and tuning, or nothing; by default ~/.cache/convmill |
| ``CONVMILL_DEBUG`` | 1 to 4: what is compiled, and how, on standard error (``runtime/debug.py``) |
| ``NO_COLOR`` | set to anything: no colours (https://no-color.org) |
| ``KERAS_HOME`` | Keras' folder, with its cache of data sets; default: ``~/.keras`` |
"""

from __future__ import annotations

import os
from pathlib import Path

from convmill.whole import check_whole

MAX_THREADS = 256


def strict() -> bool:
    """Whether what is not covered is an error."""
    return _flag("CONVMILL_STRICT")


def offline() -> bool:
    """Whether downloads are forbidden."""
    return _flag("CONVMILL_OFFLINE")


def data_folder() -> Path | None:
    """The folder with the user's data sets."""
    value = os.environ.get("CONVMILL_DATA")
    return expanded(value) if value else None


def cache_folder() -> Path | None:
    """Where native code is kept between processes; None where none shall be."""
    value = os.environ.get("CONVMILL_CACHE")
    if value is not None:
        return expanded(value) if value else None
    caches = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return Path(caches or expanded("~/.cache")) / "convmill"


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with ``~`` for the user's home; as it is where there is no such user, as in a shell.

    ``Path.expanduser`` raises there, so that a mistyped name would not be called missing.
    """
    return Path(os.path.expanduser(path))


def keras_folder() -> Path:
    """Where Keras keeps its configuration and its cache."""
    return Path(os.environ.get("KERAS_HOME") or expanded("~/.keras"))


def check() -> None:
    """Raises ValueError, naming the first variable that holds no value that it may."""
    for read in (strict, offline, threads):
        read()


def colours() -> bool:
    """Whether output may be coloured."""
    return not os.environ.get("NO_COLOR")


def debug() -> int:
    """How much to print of what is compiled, 0 to 4."""
    value = os.environ.get("CONVMILL_DEBUG", "").strip() or "0"
    if value not in ("0", "1", "2", "3", "4"):
        raise ValueError(f"CONVMILL_DEBUG must be 0 to 4. Received: CONVMILL_DEBUG={value!r}")
    return int(value)


def threads() -> int | None:
    """Threads to compute with, or None where each core gets one."""
    value = os.environ.get("CONVMILL_THREADS")
    if not value:
        return None
    try:
        number: int | str = int(value)
    except ValueError:
        number = value
    return check_threads(number, "CONVMILL_THREADS")


def target() -> str | None:
    """The target that is asked for, in lower case; ``runtime/host.py`` says whether it is there."""
    return os.environ.get("CONVMILL_TARGET", "").strip().lower() or None


def check_threads(value: object, name: str = "threads") -> int:
    """``value`` as a number of threads.

    Raises:
        ValueError: it is no whole number from 1 to MAX_THREADS.
    """
    return check_whole(name, value, 1, MAX_THREADS)


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise ValueError(f"{name} must be 0 or 1. Received: {name}={value!r}")
